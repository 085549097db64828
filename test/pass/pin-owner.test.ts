// Pins that belong to one nft of the daemon's: what it is told, what its answers mean, and what happens when it ends.

import { beforeEach, describe, expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import type { ExecResult, Host, LineHandlers } from '../../src/host/host.ts';
import { dropPins, newPinState, pinDrops } from '../../src/pass/pin.ts';
import { letGoOfPins } from '../../src/pass/pin-owner.ts';
import type { PassContext } from '../../src/pass/types.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { emptyPart } from '../../src/ruleset/user-part.ts';
import { createFakeClock, type FakeClock } from '../fake/clock.ts';

const classified = classify(
  parseDocument('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i eth0 -j DROP\nCOMMIT\n', 'ip').ruleset,
  undefined,
);
const WISH = { ip: userPartOf(classified), ip6: emptyPart('ip6') };
type Seen = NonNullable<Parameters<typeof pinDrops>[2]>;
const SEEN = { families: [{ family: 'ip', classified }], mixed: undefined } as unknown as Seen;

/** The kernel as far as one table of pins goes: who holds it and what was written last. */
let table: { flags: string; text: string; holder: Child | undefined } | undefined;
/** What `nft -f` was given. */
let inputs: string[];
let children: Child[];
/** How the next children answer a write. */
let mood: 'works' | 'refuses' | 'hangs';
/** So many writes are the end of the nft that gets them. */
let deaths: number;
let knowsPersist: boolean;
let clock: FakeClock;
let logged: string[];
let lost: number;
let context: PassContext;

interface Child {
  readonly told: string[];
  open: boolean;
  end(reason: string): void;
}

function dialog({ args }: { args: readonly string[] }, handlers: LineHandlers): ReturnType<Host['dialog']> {
  expect(args.at(-1)).toContain('nft -i');
  const child: Child = {
    told: [],
    open: true,
    end(reason) {
      if (!child.open) return;
      child.open = false;
      if (table?.holder === child) table = { ...table, flags: 'flags persist', holder: undefined };
      handlers.end(reason);
    },
  };
  children.push(child);
  const write = (text: string): void => {
    const [line = '', word = ''] = text.split('\n');
    child.told.push(line);
    if (deaths-- > 0) return child.end('sh: ended by SIGKILL');
    if (mood === 'hangs') return;
    if (mood === 'refuses') ['Error: Could not process rule: no', line, '^^^'].forEach(handlers.line);
    else table = { flags: 'flags owner,persist', text: line, holder: child };
    ['Error: syntax error, unexpected newline, expecting string', word, '  ^'].forEach(handlers.line);
  };
  return { pid: 1, write: (text) => queueMicrotask(() => write(text)), close: () => child.end('closed') };
}

function exec({ file, args = [], input = '' }: Parameters<Host['exec']>[0]): Promise<ExecResult> {
  const said = (stdout: string, exitCode = 0, stderr = ''): Promise<ExecResult> =>
    Promise.resolve({ exitCode, stdout, stderr } as ExecResult);
  if (file === 'sh') return said('add rule ip filter pin iifname "eth0" counter drop\n');
  if (args.includes('-c'))
    return knowsPersist ? said('') : said('', 1, '/dev/stdin:1:1: Error: syntax error\nadd table\n');
  if (args.includes('list'))
    return args.includes('ip') && table !== undefined
      ? said(`table ip mendwall {\n\t${table.flags}\n\n${table.text}\n`)
      : said('', 1);
  inputs.push(input);
  if (table?.holder !== undefined) return said('', 1, 'Error: Operation not permitted\n');
  if (table?.flags.startsWith('flags') && input.includes('add table ip mendwall'))
    return said('', 1, 'Error: Operation not supported\n');
  table = input.includes('chain input') ? { flags: '', text: input, holder: undefined } : undefined;
  return said('');
}

beforeEach(() => {
  [inputs, children, logged, lost] = [[], [], [], 0];
  [table, mood, deaths, knowsPersist] = [undefined, 'works', 0, true];
  clock = createFakeClock();
  let nonces = 0;
  const pins = newPinState();
  pins.watched = true;
  pins.hold.wanted = { lost: () => lost++ };
  context = {
    host: { exec, dialog, clock, log: { write: (_: string, text: string) => void logged.push(text) } },
    memory: { replaced: [] },
    nonce: () => (nonces++).toString(16).padStart(8, '0'),
    ownSentinels: new Set(),
    pins,
  } as unknown as PassContext;
});

const pin = (): ReturnType<typeof pinDrops> => pinDrops(context, WISH, SEEN);
const held = { kind: 'pinned', owner: { held: true, why: undefined } };
const notHeld = { kind: 'pinned', owner: { held: false } };

describe('pins of an owner', () => {
  it('are written by one nft that stays, both tables in one line', async () => {
    expect(await pin()).toMatchObject(held);
    expect(children[0]?.told).toEqual([
      'destroy table ip mendwall; table ip mendwall { flags owner,persist;; chain mw-00000000 { }; ' +
        'chain input { type filter hook input priority -10; policy accept;; iifname "eth0" counter drop; }; }; ' +
        'destroy table ip6 mendwall',
    ]);
    table = { ...table!, text: 'another' };
    expect(await pin()).toMatchObject(held);
    expect([children.length, children[0]?.told.length, inputs]).toEqual([1, 2, []]);
    expect(logged.at(-1)).toBe('pinned drops: ip INPUT: 1; no other process can change them');
  });

  it('have none where the option is off, and nft is not started', async () => {
    context.pins.hold.wanted = undefined;
    expect(await pin()).toMatchObject({ kind: 'pinned', owner: undefined });
    expect(children).toEqual([]);
  });

  it('have none where nft or the kernel cannot, which is said once', async () => {
    knowsPersist = false;
    expect(await pin()).toMatchObject(notHeld);
    expect(table).toMatchObject({ flags: '' });
    table = undefined;
    const { owner } = await pin();
    expect(owner?.why).toContain('no `owner,persist`');
    expect(owner?.why).toContain('syntax error');
    expect(logged.filter((line) => line.includes('belong to nobody'))).toHaveLength(1);
    expect(children).toEqual([]);
  });

  it('stay when nft ends, and another one takes them over', async () => {
    await pin();
    children[0]?.end('sh: ended by SIGKILL');
    expect([lost, context.pins.report.owner]).toEqual([1, { held: false, why: 'nft -i ended: sh: ended by SIGKILL' }]);
    expect(table?.flags).toBe('flags persist');
    expect(await pin()).toMatchObject(held);
    expect([children.length, table?.holder === children[1], inputs]).toEqual([2, true, []]);
  });

  it('are written at once by another nft when the first ends under the write, and without an owner when that one ends, too', async () => {
    await pin();
    table = { ...table!, text: 'another' };
    deaths = 1;
    expect(await pin()).toMatchObject(held);
    expect([children.length, table.holder === children[1], inputs]).toEqual([2, true, []]);
    table = { ...table!, text: 'another' };
    deaths = 2;
    expect(await pin()).toMatchObject(notHeld);
    expect([children.length, table.flags, table.holder]).toEqual([3, '', undefined]);
  });

  it('are given up as ours when nft ends again and again, and stand all the same', async () => {
    for (let round = 0; round < 3; round++) {
      expect(await pin()).toMatchObject(held);
      children.at(-1)?.end('sh: exit code 1');
    }
    expect(await pin()).toMatchObject({ ...notHeld, owner: { why: 'nft -i ended 3 times: sh: exit code 1' } });
    expect([children.length, table?.flags]).toEqual([3, '']);
  });

  it('may lose their nft now and then', async () => {
    for (let round = 0; round < 5; round++) {
      expect(await pin()).toMatchObject(held);
      await clock.advance(20_000);
      children.at(-1)?.end('sh: exit code 1');
    }
  });

  it('are written without an owner when nft refuses, with the reason', async () => {
    await pin();
    table = { ...table!, text: 'another' };
    mood = 'refuses';
    expect(await pin()).toMatchObject({ ...notHeld, owner: { why: 'Error: Could not process rule: no' } });
    expect([children[0]?.open, table?.flags]).toEqual([false, '']);
  });

  it('do not wait for ever for an nft that hangs', async () => {
    mood = 'hangs';
    const done = pin();
    await clock.advance(70_000);
    expect(await done).toMatchObject({ ...notHeld, owner: { why: 'nft -i did not answer in 30 s' } });
    expect(children.map(({ open }) => open)).toEqual([false, false]);
  });

  it('are let go of before they are taken away, and taken away when a killed daemon left them', async () => {
    await pin();
    await dropPins(context);
    expect([table, children[0]?.open, lost]).toEqual([undefined, false, 0]);
    table = { flags: 'flags persist', text: 'x', holder: undefined };
    await dropPins(context);
    expect(table).toBeUndefined();
    expect(inputs.at(-1)).toBe('delete table ip mendwall\nadd table ip6 mendwall\ndelete table ip6 mendwall\n');
  });

  it('are let go of and stay, when the namespace ends', async () => {
    await pin();
    await letGoOfPins(context);
    expect([table?.flags, children[0]?.open, lost]).toEqual(['flags persist', false, 0]);
  });
});
