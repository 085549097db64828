// Rules on trial: what is applied, what comes back, and what happens when nobody is there any more.

import { beforeEach, describe, expect, it } from 'vitest';
import { userPartOf, classify } from '../../src/classify/classify.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { emptyPart } from '../../src/ruleset/user-part.ts';
import { applyLoaded, type ApplyArgs, type ApplyResult } from '../../src/verbs/apply.ts';
import { runVerb } from '../../src/verbs/dispatch.ts';
import { init } from '../../src/verbs/init.ts';
import type { LoadedRules } from '../../src/verbs/load-rules.ts';
import { mend } from '../../src/verbs/mend.ts';
import { confirm, rollback } from '../../src/verbs/rollback.ts';
import { listSnapshots } from '../../src/verbs/snapshots.ts';
import { status } from '../../src/verbs/status.ts';
import { leftMs, readTrial } from '../../src/verbs/trial-state.ts';
import { type LiveWorld, openWorld, unlessRefused } from './fixture.ts';

const MEND = { mode: 'merge', dryRun: false, trigger: 'hand', by: ['hand'] } as const;
const ARGS: ApplyArgs = {
  files: ['/etc/mendwall/rules.d/10-a.v4'],
  all: false,
  dryRun: false,
  yes: true,
  trialMs: 60_000,
  preflight: true,
  session: '',
};
const NEW = `*filter
:FORWARD DROP [0:0]
:web - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A FORWARD -d 192.168.122.11/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -j REJECT --reject-with icmp-port-unreachable
-A web -s 10.0.0.0/8 -j ACCEPT
COMMIT
`;

function loaded(text: string): LoadedRules {
  const { ruleset, problems } = parseDocument(text, 'ip', 'a.v4');
  expect(problems).toEqual([]);
  return {
    kind: 'loaded',
    rules: { ip: userPartOf(classify(ruleset, undefined)), ip6: emptyPart('ip6'), native: new Map() },
    problems: [],
    warnings: [],
    sources: [{ file: '10-a.v4', kind: 'ip', template: false, text, lines: [], written: text }],
    placed: [],
    leftOut: [],
    judged: true,
  };
}

let world: LiveWorld;
let before: string;

const apply = async (text = NEW, change: Partial<ApplyArgs> = {}): Promise<ApplyResult> =>
  unlessRefused(await applyLoaded(world, loaded(text), { ...ARGS, ...change }));

/** The kernel's rules without counters and sentinels. */
const rules = async (): Promise<string> =>
  (await world.run('iptables-save'))
    .split('\n')
    .filter((line) => !line.startsWith('#') && !line.startsWith(':mw-'))
    .join('\n')
    .replaceAll(/\[\d+:\d+\]/g, '');

beforeEach(async () => {
  world = await openWorld();
  await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
  before = await rules();
});

describe('apply', () => {
  it('puts the rules of the files in place around the neighbours, keeps what no file speaks of, and opens a trial', async () => {
    const result = await apply();
    expect(result).toMatchObject({ kind: 'apply', changed: true, outcome: { drift: [] } });
    const forward = await world.chain('FORWARD');
    expect(forward).toEqual([
      '-A FORWARD -d 192.168.122.11/32 -p tcp -m tcp --dport 80 -j ACCEPT',
      '-A FORWARD -j LIBVIRT_FWX',
      '-A FORWARD -j LIBVIRT_FWI',
      '-A FORWARD -j REJECT --reject-with icmp-port-unreachable',
    ]);
    expect(result.trial?.leftMs).toBeGreaterThan(50_000);
    expect((await status(world, undefined)).trial).toMatchObject({ what: '10-a.v4' });
    expect(unlessRefused(await mend(world, MEND)).outcomes[0]?.kind).toBe('unchanged');
  });

  it('keeps a policy that no file states, so that a fragment opens nothing', async () => {
    await apply(NEW.replace(':FORWARD DROP [0:0]\n', ''));
    expect(await world.run('iptables-save')).toContain(':FORWARD DROP');
  });

  it('asks without yes, and writes nothing on a dry run', async () => {
    expect(await apply(NEW, { yes: false })).toMatchObject({ kind: 'asks', changed: false });
    expect(await apply(NEW, { dryRun: true })).toMatchObject({ kind: 'apply', changed: false, trial: undefined });
    expect(await rules()).toBe(before);
    expect(await readTrial(world.context)).toBeUndefined();
  });

  it('is unchanged the second time, and opens no trial for nothing', async () => {
    await apply();
    await confirm(world, { dryRun: false });
    expect(await apply()).toMatchObject({ kind: 'apply', changed: false, trial: undefined, diff: { same: true } });
  });

  it('rolls back at once what iptables does not take whole', async () => {
    const result = await apply(NEW.replace('--dport 443 -j ACCEPT', '--dport 443 -j NOSUCHCHAIN'));
    expect(result).toMatchObject({ kind: 'rolled-back' });
    expect(await rules()).toBe(before);
    expect(await readTrial(world.context)).toBeUndefined();
  });

  it('refuses other words about the rules while they are on trial', async () => {
    await apply();
    for (const [verb, args] of [
      ['snapshot', { message: '', dryRun: false, yes: true }],
      ['restore', { ref: 'latest~1', dryRun: false, yes: true }],
      ['apply', { ...ARGS }],
    ] as const)
      expect(await runVerb(world, verb, args), verb).toMatchObject({ kind: 'refused', code: 'on-trial' });
  });

  it('with no trial keeps them at once', async () => {
    await apply(NEW, { trialMs: 0 });
    expect(await readTrial(world.context)).toBeUndefined();
  });
});

describe('the pre-flight', () => {
  const CLOSED = NEW.replace('-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n', '').replace(
    ':FORWARD',
    ':INPUT DROP [0:0]\n:FORWARD',
  );

  it('refuses rules that stop the session of the one who applies them, and names the rule', async () => {
    const refused = await applyLoaded(world, loaded(CLOSED), { ...ARGS, session: '203.0.113.9 40000 192.0.2.1 22' });
    expect(refused).toMatchObject({ kind: 'refused', code: 'would-cut' });
    expect('message' in refused && refused.message).toMatch(
      /your session from 203\.0\.113\.9: drop by ip filter: -P INPUT DROP/,
    );
    expect(await rules()).toBe(before);
  });

  it('lets them pass without it', async () => {
    const session = '203.0.113.9 40000 192.0.2.1 22';
    expect(await apply(CLOSED, { session, preflight: false })).toMatchObject({ kind: 'apply', changed: true });
  });

  it('is no hindrance for rules that let the session in', async () => {
    expect(await apply(NEW, { session: '203.0.113.9 40000 192.0.2.1 22' })).toMatchObject({
      kind: 'apply',
      changed: true,
    });
  });
});

describe('confirm and rollback', () => {
  it('confirm keeps the rules, and ends the trial', async () => {
    await apply();
    const tried = await rules();
    expect(await confirm(world, { dryRun: false })).toMatchObject({ kind: 'confirm', changed: true });
    expect(await rules()).toBe(tried);
    expect(await confirm(world, { dryRun: false })).toMatchObject({ code: 'nothing-on-trial' });
  });

  it('rollback puts back the rules before, with what was pending, and keeps both in the history', async () => {
    await world.run('iptables -A INPUT -s 10.9.9.9/32 -j DROP');
    await mend(world, MEND);
    const withPending = await rules();
    await apply();
    expect(await rollback(world, { dryRun: false, due: false })).toMatchObject({ kind: 'rollback', changed: true });
    expect(await rules()).toBe(withPending);
    const drift = unlessRefused(await mend(world, MEND)).outcomes[0]?.drift;
    expect(drift).toMatchObject([{ kind: 'pending', text: '-A INPUT -s 10.9.9.9/32 -j DROP' }]);
    expect((await listSnapshots(world)).snapshots.map(({ trigger }) => trigger)).toEqual(
      expect.arrayContaining(['init', 'apply', 'rollback']),
    );
  });

  it('rollback of the first table there ever was leaves no DROP behind', async () => {
    world = await openWorld();
    await world.run('nft flush ruleset');
    await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
    await apply(NEW, { preflight: false });
    expect(await world.run('iptables-save')).toMatch(/^:FORWARD DROP/m);
    await rollback(world, { dryRun: false, due: false });
    const after = await world.run('iptables-save');
    expect(after).not.toMatch(/^:\S+ DROP|^-A|^:web/m);
    expect(unlessRefused(await mend(world, MEND)).outcomes[0]?.drift).toEqual([]);
  });

  it('by a new process, after the one that applied was killed, is the same', async () => {
    await apply();
    const other = await world.again();
    await rollback(other, { dryRun: false, due: false });
    expect(await rules()).toBe(before);
  });

  it('that is only to happen when due waits until then', async () => {
    await apply();
    const early = unlessRefused(await rollback(world, { dryRun: false, due: true }));
    expect(early.outcome).toBeUndefined();
    expect(early.leftMs).toBeGreaterThan(0);
  });

  it('too late, confirm says so with a failure, also once it was rolled back', async () => {
    await apply(NEW, { trialMs: 1 });
    const trial = await readTrial(world.context);
    await new Promise<void>((resolve) => void world.context.host.clock.after(30, resolve));
    expect(trial === undefined ? 1 : leftMs(world.context.host, trial)).toBe(0);
    expect(await confirm(world, { dryRun: false })).toMatchObject({ code: 'trial-over' });
    await rollback(world, { dryRun: false, due: true });
    expect(await rules()).toBe(before);
    expect(await confirm(world, { dryRun: false })).toMatchObject({ code: 'trial-over' });
  });

  it('a boot ends a trial, and setting the clock does not', async () => {
    await apply();
    const trial = await readTrial(world.context);
    if (trial === undefined) throw new Error('no trial');
    const { host } = world.context;
    const clock = { ...host.clock, wallMs: () => host.clock.wallMs() + 365 * 24 * 3600_000 };
    expect(leftMs({ ...host, clock }, trial)).toBeGreaterThan(0);
    expect(leftMs(host, { ...trial, bootId: 'another' })).toBe(0);
  });
});
