// What the commits of a burst say about native tables, and what the daemon's mind makes of them.

import { describe, expect, it } from 'vitest';
import type { Commit, GuardEvent } from '../../src/events/types.ts';
import { isOwn } from '../../src/guard/own-commits.ts';
import { step } from '../../src/machine.ts';
import { addCommit, type Burst, joinHeard, openBurst } from '../../src/machine/burst.ts';
import { type Effect, initialState, type State } from '../../src/machine/types.ts';
import { nativeMark } from '../../src/pass/native-mark.ts';
import { failedOutcome } from '../../src/pass/outcome.ts';
import type { PassContext, PassRequest } from '../../src/pass/types.ts';
import { commit, LIBVIRTD, nativeCommit } from '../commits.ts';
import { caseLines, hear } from '../events/monitor-capture.ts';

const TABLE = 'inet filter';
const LOAD = { table: TABLE, deletesTable: true, addsTable: true, rulesAdded: 5, rulesDeleted: 5 };
const GONE = { table: TABLE, deletesTable: true, rulesDeleted: 5 };
const RULE = { table: TABLE, rulesAdded: 1, ruleChains: ['input'] };
const NAT = { table: 'ip mynat', addsTable: true, rulesAdded: 1 };
const LIBVIRTS = { table: 'ip libvirt_network', rulesAdded: 1, ruleChains: ['guest_nat'] };
const LIBVIRTS_GONE = { table: 'ip libvirt_network', deletesTable: true, rulesDeleted: 10 };

const burstOf = (...commits: Commit[]): Burst =>
  commits.reduce((burst, each, index) => addCommit(burst, each, index), openBurst(0));
const says = (...commits: Commit[]): unknown => burstOf(...commits).native.get(TABLE);
/** A case of the capture, as one process ran it. */
const captured = (name: string): Commit[] =>
  hear(caseLines('native-loads.txt', name)).commits.map(({ pid = 0, comm, ...rest }) => ({
    ...rest,
    author: {
      pid,
      comm,
      cmdline: ['nft', '-f', '/root/my.nft'],
      parents: [{ pid: 7, comm: 'bash', cmdline: ['bash'] }],
    },
  }));

describe('a table under a name of iptables', () => {
  const nat = (...commits: Commit[]): unknown => burstOf(...commits).native.get('ip nat');
  const IN_NAT = { table: 'nat', chains: ['prerouting'] };

  it.each<[string, Commit, object | undefined]>([
    [
      'nft -f that replaces it is a load',
      commit({ ...IN_NAT, run: 'nft -f x', deletesTable: true, addsTable: true, added: 3, deleted: 3 }),
      { replaced: true, wiped: false },
    ],
    [
      'nft flush chain is a wipe',
      commit({ ...IN_NAT, run: 'nft flush chain ip nat prerouting', deleted: 1 }),
      { wiped: true, emptied: ['prerouting'] },
    ],
    ['nft add rule took nothing', commit({ ...IN_NAT, run: 'nft add rule', added: 1 }), { wiped: false }],
    [
      'nft delete table names it',
      commit({ ...IN_NAT, run: 'nft delete table ip nat', deletesTable: true, deleted: 3 }),
      { wiped: true, named: true },
    ],
    [
      'iptables -F takes native rules along, and never means them',
      commit({ ...IN_NAT, run: 'iptables -t nat -F', deleted: 1 }),
      { wiped: true, flushed: true, named: false, byOther: true },
    ],
    [
      'so does a whole iptables-restore, which is no load of native rules',
      commit({ ...IN_NAT, run: 'iptables-restore x', deletesTable: true, addsTable: true, added: 3, deleted: 3 }),
      { wiped: true, replaced: false },
    ],
    [
      'iptables in its own chains says nothing',
      commit({ table: 'nat', chains: ['POSTROUTING'], deleted: 2 }),
      undefined,
    ],
    ['nor does libvirt', commit({ table: 'nat', chains: ['LIBVIRT_PRT'], deleted: 5, run: LIBVIRTD }), undefined],
    [
      'nor nft in chains of iptables’',
      commit({ table: 'nat', chains: ['POSTROUTING'], added: 1, run: 'nft add rule' }),
      undefined,
    ],
  ])('%s', (_, heard, expected) => {
    if (expected === undefined) expect(nat(heard)).toBeUndefined();
    else expect(nat(heard)).toMatchObject(expected);
  });
});

describe('the summary of a native table', () => {
  it.each<[string, Commit[], object]>([
    ['a file that begins with flush ruleset is a load', captured('same'), { replaced: true, wiped: false }],
    ['flush table and rules in one file is a load', captured('flush-table'), { replaced: true, wiped: false }],
    ['flush table is a wipe', captured('flush-table-cmd'), { replaced: false, wiped: true, named: false }],
    ['one rule deleted is not', [nativeCommit({}, { table: TABLE, rulesDeleted: 1 })], { wiped: false }],
    [
      'unless the command says flush',
      [nativeCommit({ run: 'nft flush chain inet filter input' }, { table: TABLE, rulesDeleted: 1 })],
      { wiped: true },
    ],
    [
      'a set that is flushed is no wipe',
      [nativeCommit({ run: 'nft flush set inet filter s' }, { table: TABLE, elementsChanged: 9 })],
      { wiped: false, byOther: true },
    ],
    [
      'nft replace rule is no load',
      [nativeCommit({ run: 'nft replace rule' }, { table: TABLE, rulesAdded: 1, rulesDeleted: 1 })],
      { replaced: false, wiped: false, byOther: true },
    ],
    [
      'one rule in a table block after a flush is a load',
      [nativeCommit({}, { table: TABLE, rulesAdded: 1, rulesDeleted: 1, chainsAdded: ['input'] })],
      { replaced: true },
    ],
    [
      'a rule that is added took nothing',
      [nativeCommit({ run: 'nft add rule' }, RULE)],
      { byOther: false, wiped: false },
    ],
    [
      'deleted by a command that names it',
      [nativeCommit({ run: 'nft delete table inet filter' }, GONE)],
      { named: true, wiped: true },
    ],
    ['in one argument', [namedBy('add table ip x; destroy table inet filter')], { named: true }],
    ['another table’s name is not its', [namedBy('delete table inet filter2')], { named: false, wiped: true }],
    ['nor is that of another family', [namedBy('delete table filter')], { named: false }],
    ['unreadable', [nativeCommit({}, GONE)], { named: false, wiped: true, byOther: false }],
    [
      'a load after a deletion by name',
      [nativeCommit({ run: 'nft delete table inet filter' }, GONE), nativeCommit({}, { ...RULE, addsTable: true })],
      { wiped: true, addedAfterWipe: true, leftOut: false },
    ],
    [
      'a load before a deletion counts for nothing',
      [nativeCommit({}, LOAD), nativeCommit({}, GONE)],
      { replaced: false, wiped: true },
    ],
    [
      'a load without it, in one commit',
      [nativeCommit({ run: 'nft -f x' }, GONE, NAT)],
      { wiped: true, leftOut: true },
    ],
    [
      'rules added to the chain that was flushed are a load in pieces',
      [
        nativeCommit(
          { run: 'nft flush chain inet filter input' },
          { table: TABLE, rulesDeleted: 3, ruleChains: ['input'] },
        ),
        nativeCommit({}, RULE),
      ],
      { wiped: true, addedAfterWipe: true },
    ],
    [
      'rules added to another chain are not',
      [
        nativeCommit(
          { run: 'nft flush chain inet filter input' },
          { table: TABLE, rulesDeleted: 3, ruleChains: ['input'] },
        ),
        nativeCommit({}, { ...RULE, ruleChains: ['admin'] }),
      ],
      { wiped: true, addedAfterWipe: false },
    ],
    ['a flush alone leaves nothing out', [nativeCommit({ run: 'nft flush ruleset' }, GONE)], { leftOut: false }],
    [
      'a script’s load without it',
      [nativeCommit({ run: 'nft flush ruleset' }, GONE), nativeCommit({}, NAT)],
      { leftOut: true },
    ],
    [
      'which then makes it after all',
      [nativeCommit({}, GONE), nativeCommit({}, NAT), nativeCommit({}, { ...RULE, addsTable: true })],
      { leftOut: false },
    ],
    ['another table made before', [nativeCommit({}, NAT), nativeCommit({}, GONE)], { leftOut: false }],
    [
      'a neighbour’s table made after',
      [nativeCommit({}, GONE), nativeCommit({}, { table: 'inet firewalld', addsTable: true })],
      { leftOut: false },
    ],
    [
      'nftables.service is a loader',
      [nativeCommit({ run: '/usr/sbin/nft -f /etc/nftables.conf', unit: 'nftables.service' }, LOAD)],
      { loader: 'nftables.service', replaced: true },
    ],
    [
      'its file by hand, too',
      [nativeCommit({ run: 'nft -f /etc/nftables.conf' }, LOAD)],
      { loader: '/etc/nftables.conf' },
    ],
    [
      'a neighbour that takes the user’s rules',
      [nativeCommit({ run: 'nft x', parents: ['dockerd'] }, GONE)],
      { byNeighbour: 'docker', byOther: false, writers: ['docker'] },
    ],
  ])('%s', (_, commits, expected) => {
    expect(says(...commits)).toMatchObject(expected);
  });

  it('the tables of a file that leaves one out', () => {
    const { native } = burstOf(...captured('leftout'));
    expect(native.get('ip mynat')).toMatchObject({ leftOut: true, wiped: true, replaced: false });
    expect(native.get(TABLE)).toMatchObject({ leftOut: false, replaced: true });
  });

  it('a table that is made by the commit that took another, and one that is made later', () => {
    const made = (...commits: Commit[]): unknown => burstOf(...commits).native.get('ip mynat')?.madeByLoad;
    expect(made(nativeCommit({ run: 'nft -f x' }, GONE, NAT))).toBe(true);
    expect(made(nativeCommit({ run: 'nft -f x' }, LOAD, NAT))).toBe(false);
    expect(made(nativeCommit({}, GONE), nativeCommit({}, NAT))).toBe(false);
    const gone = { table: 'ip mynat', deletesTable: true };
    expect(made(nativeCommit({}, GONE, NAT), nativeCommit({}, gone))).toBe(false);
    expect(joinHeard(burstOf(nativeCommit({}, GONE, NAT)), burstOf()).native.get('ip mynat')?.madeByLoad).toBe(true);
    expect(
      joinHeard(
        burstOf(nativeCommit({}, GONE, NAT)),
        burstOf(nativeCommit({}, { ...NAT, addsTable: false })),
      ).native.get('ip mynat')?.madeByLoad,
    ).toBe(true);
  });

  it('tables that are a neighbour’s by name are not in it', () => {
    expect([
      ...burstOf(nativeCommit({}, LIBVIRTS, { table: 'inet firewalld', rulesAdded: 1 }, RULE)).native.keys(),
    ]).toEqual([TABLE]);
  });

  it('joins what two bursts say', () => {
    const both = joinHeard(
      burstOf(nativeCommit({ run: 'nft delete table inet filter' }, GONE)),
      burstOf(nativeCommit({ run: 'nft x' }, RULE, NAT)),
    );
    expect(both.native.get(TABLE)).toMatchObject({ wiped: true, named: true });
    expect([...both.native.keys()]).toEqual([TABLE, 'ip mynat']);
  });
});

function namedBy(argument: string): Commit {
  const made = nativeCommit({}, GONE);
  return { ...made, author: { ...made.author, cmdline: ['nft', argument] } };
}

/** The mind with its clock standing still between calls. */
function mind(): {
  hear(commit: Commit, atMs: number): readonly Effect[];
  timer(name: 'settle' | 'libvirt', atMs: number): PassRequest | undefined;
  fail(request: PassRequest, atMs: number): void;
  state(): State;
} {
  let state = initialState({ mode: 'merge', repair: true, events: true, contention: { budget: 5, windowMs: 60_000 } });
  const feed = (input: Parameters<typeof step>[1], atMs: number): readonly Effect[] => {
    const result = step(state, input, atMs);
    state = result.state;
    return result.effects;
  };
  return {
    hear: (heard, atMs) => feed({ kind: 'event', event: { kind: 'commit', commit: heard } }, atMs),
    timer: (name, atMs) =>
      feed({ kind: 'timer', name }, atMs).flatMap((effect) => (effect.kind === 'pass' ? [effect.request] : []))[0],
    fail: (request, atMs) =>
      void feed(
        {
          kind: 'pass-done',
          request,
          outcome: failedOutcome(request),
        },
        atMs,
      ),
    state: () => state,
  };
}

const timers = (effects: readonly Effect[]): string[] =>
  effects.map((effect) => (effect.kind === 'timer' ? `${effect.name} ${effect.ms}` : effect.kind));

describe('the mind, at native commits', () => {
  it('the user’s table opens a burst, whose pass is told what was heard', () => {
    const guard = mind();
    expect(timers(guard.hear(nativeCommit({ run: 'nft add rule' }, RULE), 1000))).toEqual(['settle 50']);
    expect(guard.timer('settle', 1049)).toBeUndefined();
    const request = guard.timer('settle', 1050);
    expect(request).toMatchObject({ trigger: 'settled', burstOver: true, by: ['nft pid 4711 (parent unknown)'] });
    expect([...(request?.native?.keys() ?? [])]).toEqual([TABLE]);
    expect(request?.summaries?.('ip').size).toBe(0);
    expect(guard.state().wipe).toBeUndefined();
  });

  it('elements alone do so, too', () => {
    expect(timers(mind().hear(nativeCommit({}, { table: TABLE, elementsChanged: 1 }), 1000))).toEqual(['settle 50']);
  });

  it('after a flush the writer and its script are watched', () => {
    const guard = mind();
    expect(timers(guard.hear(nativeCommit({ run: 'nft flush ruleset' }, GONE), 1000))).toEqual(['settle 10']);
    expect(guard.state().burst?.wiped).toBe(true);
  });

  it('what was heard counts until a pass succeeds', () => {
    const guard = mind();
    guard.hear(nativeCommit({ run: 'nft flush ruleset' }, GONE), 1000);
    guard.fail(guard.timer('settle', 1050)!, 1060);
    guard.hear(nativeCommit({ run: 'nft -f x' }, NAT), 1100);
    expect(guard.timer('settle', 1200)?.native?.get(TABLE)).toMatchObject({ wiped: true });
  });

  it.each<[string, Commit, string]>([
    ['seen', nativeCommit({ parents: [LIBVIRTD] }, LIBVIRTS), 'seen'],
    ['inferred', nativeCommit({}, LIBVIRTS), 'inferred'],
  ])('libvirt’s own table is libvirt writing (%s), and settles nothing', (_, heard, libvirt) => {
    const guard = mind();
    expect(timers(guard.hear(heard, 1000))).toEqual(['libvirt 500']);
    expect(guard.state()).toMatchObject({
      libvirtMs: 1000,
      wipe: undefined,
      burst: { libvirt, libvirtCommits: 1, authors: [] },
    });
  });

  it.each<[string, Commit]>([
    [
      'of another neighbour',
      nativeCommit({ run: 'nft -f x', parents: ['bash'] }, { table: 'inet firewalld', rulesAdded: 1 }),
    ],
    ['of mendwall', nativeCommit({}, { table: 'ip mendwall', rulesAdded: 1 })],
  ])('the table %s asks for nothing', (_, heard) => {
    const guard = mind();
    expect(guard.hear(heard, 1000)).toEqual([]);
    expect(guard.state().burst).toBeUndefined();
  });

  it('mendwall’s table that somebody deleted is looked at', () => {
    const gone = nativeCommit(
      { run: 'nft delete table ip mendwall', parents: ['bash'] },
      { table: 'ip mendwall', deletesTable: true },
    );
    expect(timers(mind().hear(gone, 1000))).toEqual(['settle 50']);
  });

  it.each<[string, Parameters<typeof nativeCommit>[0]]>([
    ['by a command', { run: 'nft flush ruleset', parents: ['bash'] }],
    ['by nobody knows whom', {}],
  ])('libvirt’s table deleted %s is a wipe that is judged when libvirt was quiet', (_, author) => {
    const guard = mind();
    expect(timers(guard.hear(nativeCommit(author, LIBVIRTS_GONE), 1000))).toEqual(['settle 10', 'libvirt 500']);
    expect(guard.state().wipe).toEqual({ atMs: 1000, libvirtSince: false });
    expect(guard.timer('libvirt', 1500)).toMatchObject({ trigger: 'libvirt quiet', burstOver: true });
  });

  it('deleted by libvirt itself it is none', () => {
    const guard = mind();
    guard.hear(nativeCommit({ parents: [LIBVIRTD] }, LIBVIRTS_GONE), 1000);
    expect(guard.state().wipe).toBeUndefined();
  });

  it('nft flush ruleset is all of it in one commit', () => {
    const guard = mind();
    const flush = {
      ...commit({ run: 'nft flush ruleset', deletesTable: true, deleted: 3 }),
      native: nativeCommit({}, GONE, LIBVIRTS_GONE).native,
    };
    guard.hear(flush, 1000);
    expect(guard.state().wipe).toEqual({ atMs: 1000, libvirtSince: false });
    const request = guard.timer('settle', 1050);
    expect(request?.summaries?.('ip').get('filter')).toMatchObject({ wiped: true });
    expect(request?.native?.get(TABLE)).toMatchObject({ wiped: true, named: false });
  });
});

describe('our own native commits', () => {
  it('are known once by their mark, also where they delete a table', () => {
    const context = { nonce: () => '1a1b2c3d', ownSentinels: new Set<string>() } as unknown as PassContext;
    expect(nativeMark(context, TABLE)).toBe(
      'add chain inet filter mw-1a1b2c3d\ndelete chain inet filter mw-1a1b2c3d\n',
    );
    const [other, ours] = hear(caseLines('native-names.txt', 'mark')).commits.map((heard): GuardEvent => ({
      kind: 'commit',
      commit: { ...heard, author: commit({}).author },
    }));
    expect([isOwn(context, other!), isOwn(context, ours!), isOwn(context, ours!)]).toEqual([false, true, false]);
  });
});
