// When pins are written, when they are taken away, and which events are our own doing.

import { beforeEach, describe, expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import type { GuardEvent } from '../../src/events/types.ts';
import { isOwn } from '../../src/guard/own-commits.ts';
import type { ExecResult, Host } from '../../src/host/host.ts';
import { dropPins, newPinState, pinDrops } from '../../src/pass/pin.ts';
import type { PassContext } from '../../src/pass/types.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { emptyPart } from '../../src/ruleset/user-part.ts';

const classified = classify(
  parseDocument('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i eth0 -j DROP\nCOMMIT\n', 'ip').ruleset,
  undefined,
);
const WISH = { ip: userPartOf(classified), ip6: emptyPart('ip6') };
type Seen = NonNullable<Parameters<typeof pinDrops>[2]>;
const SEEN = { families: [{ family: 'ip', classified }], mixed: undefined } as unknown as Seen;

/** nft as far as pins go: the last text it was given is what stands. */
let inputs: string[];
let standing: string;
let refuses: boolean;
let translation: string;

function exec({ file, args = [], input = '' }: Parameters<Host['exec']>[0]): Promise<ExecResult> {
  const said = (stdout: string, exitCode = 0, stderr = ''): Promise<ExecResult> =>
    Promise.resolve({ exitCode, stdout, stderr } as ExecResult);
  if (file === 'sh') return said(translation);
  if (args.includes('list'))
    return said(args.includes('ip') ? standing : '', Number(!args.includes('ip') || standing === ''));
  inputs.push(input);
  if (refuses && input.includes('chain input')) return said('', 1, '/dev/stdin:4:1: Error: no\n');
  standing = input.includes('chain input') ? `table ip mendwall\n${input}` : '';
  return said('');
}

let context: PassContext;
let logged: string[];
beforeEach(() => {
  [inputs, standing, refuses, logged] = [[], '', false, []];
  translation = 'add rule ip filter pin iifname "eth0" counter drop\n';
  let nonces = 0;
  context = {
    host: { exec, log: { write: (_: string, text: string) => void logged.push(text) } },
    memory: { replaced: [] },
    nonce: () => (nonces++).toString(16).padStart(8, '0'),
    ownSentinels: new Set(),
    pins: { ...newPinState(), watched: true },
  } as unknown as PassContext;
});

describe('pins', () => {
  it('are written once, and again when another changed them', async () => {
    const report = await pinDrops(context, WISH, SEEN);
    expect(report).toMatchObject({ kind: 'pinned', runs: [{ family: 'ip', chain: 'INPUT', rules: 1, drops: 1 }] });
    expect(standing).toContain('\t\tiifname "eth0" counter drop\n');
    await pinDrops(context, WISH, SEEN);
    expect(inputs).toHaveLength(1);
    standing = standing.replace('drop', 'accept');
    await pinDrops(context, WISH, SEEN);
    expect(inputs).toHaveLength(2);
    expect(standing).toContain('iifname "eth0" counter drop');
  });

  it('are not written where no daemon watches', async () => {
    context.pins.watched = false;
    expect(await pinDrops(context, WISH, SEEN)).toMatchObject({ kind: 'off' });
    expect(inputs).toEqual([]);
  });

  it('go with the drop, with what replaced it, with rules in both engines, and when nothing can be read', async () => {
    const gone = async (wish: typeof WISH, seen: Seen | undefined): Promise<void> => {
      await pinDrops(context, WISH, SEEN);
      expect(standing).not.toBe('');
      expect(await pinDrops(context, wish, seen)).toMatchObject({ kind: 'none', runs: [] });
      expect(standing).toBe('');
    };
    await gone({ ...WISH, ip: emptyPart('ip') }, SEEN);
    await gone(WISH, undefined);
    await gone(WISH, { ...SEEN, mixed: 'both engines hold rules' });
    await pinDrops(context, WISH, SEEN);
    context.memory.replaced = ['ip filter'];
    expect(await pinDrops(context, WISH, SEEN)).toMatchObject({ kind: 'none' });
    expect(standing).toBe('');
  });

  it('stop at a rule that iptables has no words for', async () => {
    translation = '# -t filter -A pin -i eth0 -j DROP \n';
    const { kind, runs } = await pinDrops(context, WISH, SEEN);
    expect([kind, runs[0]?.stopped]).toEqual([
      'none',
      { text: '-A INPUT -i eth0 -j DROP', why: 'iptables has no translation of it' },
    ]);
  });

  it('are taken away rather than left behind the rules, when nft refuses them', async () => {
    await pinDrops(context, WISH, SEEN);
    standing += 'changed';
    refuses = true;
    expect(await pinDrops(context, WISH, SEEN)).toMatchObject({ kind: 'failed', why: '/dev/stdin:4:1: Error: no' });
    expect(standing).toBe('');
    expect(logged.at(-1)).toContain('no drop is pinned');
    // What is refused is not tried again until something changes.
    await pinDrops(context, WISH, SEEN);
    expect(inputs).toHaveLength(3);
  });

  it('are taken away at the end, and nothing is written where none stand', async () => {
    await dropPins(context);
    expect(inputs).toEqual([]);
    context.pins.watched = true;
    await pinDrops(context, WISH, SEEN);
    await dropPins(context);
    expect([standing, context.pins.report.kind, context.pins.watched]).toEqual(['', 'off', false]);
  });
});

describe('a commit to the table of pins', () => {
  const commit = (chainsAdded: readonly string[], table = 'ip mendwall'): GuardEvent => {
    const change = { family: 'ip', table, deletesTable: true, addsTable: true, chainsAdded };
    const [changes, native] = table === 'filter' ? [[change], []] : [[], [change]];
    return { kind: 'commit', commit: { changes, native } } as unknown as GuardEvent;
  };

  it('is ours by its mark, once', async () => {
    await pinDrops(context, WISH, SEEN);
    const mark = /chain (mw-[0-9a-f]{8})/.exec(inputs[0] ?? '')?.[1] ?? '';
    expect(isOwn(context, commit([mark, 'input']))).toBe(true);
    expect(isOwn(context, commit([mark, 'input']))).toBe(false);
  });

  it('by another is heard, and a replaced iptables table never counts as ours', async () => {
    await pinDrops(context, WISH, SEEN);
    expect(isOwn(context, commit([]))).toBe(false);
    expect(isOwn(context, commit([...context.ownSentinels], 'filter'))).toBe(false);
  });
});
