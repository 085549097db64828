// "Whose voice is it?", row by row: what happened, told by commits as the kernel monitor gives them, and what mendwall then
// wants. Rules in short hand: `a`..`h` are the user's in FORWARD, `i`..`m` in INPUT, `w` in the user's chain web.

import { describe, expect, it } from 'vitest';
import { addCommit, openBurst } from '../../src/machine/burst.ts';
import { classify, neighbourPartOf } from '../../src/classify/classify.ts';
import { type Decision, decideTable, type Situation } from '../../src/merge/decide.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';
import { type Act, commit, LIBVIRTD } from '../commits.ts';
import { snapshotOf } from '../properties/work.ts';

interface State {
  /** FORWARD, INPUT, web; capitals X, I, O are libvirt's jumps. Undefined web: no such chain. */
  readonly forward?: string;
  readonly input?: string;
  readonly web?: string | undefined;
  readonly policy?: string;
  /** libvirt's chains are there; default true. */
  readonly libvirt?: boolean;
  readonly noTable?: boolean;
}

const BASE: State = { forward: 'XIOabcd', input: 'ij', web: 'w', policy: 'ACCEPT', libvirt: true };

function ruleOf(chain: string, letter: string): string {
  return `-A ${chain} ${'XIO'.includes(letter) ? `-j LIBVIRT_FW${letter}` : `-s 10.0.0.${letter.charCodeAt(0)}/32 -j DROP`}`;
}

function rulesetOf(state: State): ReturnType<typeof parseDocument>['ruleset'] {
  const { forward = '', input = '', web, policy = 'ACCEPT', libvirt = true, noTable = false } = { ...BASE, ...state };
  const lines = [':INPUT ACCEPT [0:0]', `:FORWARD ${policy} [0:0]`, ':OUTPUT ACCEPT [0:0]'];
  if (web !== undefined) lines.push(':web - [0:0]');
  if (libvirt) lines.push(':LIBVIRT_FWX - [0:0]', ':LIBVIRT_FWI - [0:0]', ':LIBVIRT_FWO - [0:0]');
  for (const [chain, letters] of [
    ['FORWARD', forward],
    ['INPUT', input],
    ['web', web ?? ''],
  ] as const) {
    lines.push(...[...letters].map((letter) => ruleOf(chain, letter)));
  }
  const { ruleset, problems } = parseDocument(noTable ? '' : ['*filter', ...lines, 'COMMIT', ''].join('\n'), 'ip');
  expect(problems).toEqual([]);
  return ruleset;
}

interface Told {
  readonly live: State;
  /** Undefined: no events. */
  readonly acts?: readonly Act[] | undefined;
  readonly situation?: Partial<Situation>;
  readonly base?: State;
}

function decide({ live, acts, situation, base }: Told): Decision {
  const { wish, known } = snapshotOf(rulesetOf(base ?? {}));
  const burst = acts?.reduce((open, act, index) => addCommit(open, commit(act), index), openBurst(0));
  return decideTable({
    table: 'filter',
    wish: wish.tables.get('filter'),
    live: classify(rulesetOf(live), undefined, known).tables.get('filter'),
    summary: burst?.tables.get('ip filter'),
    evidence: { wholeTableNew: false, bootFile: undefined },
    burstOver: true,
    onDelete: 'pending',
    onLoad: 'adopt',
    isGuestBridge: () => false,
    ...situation,
  });
}

/** `abcd/ij/w ACCEPT`: the user's rules to have, chain by chain, and FORWARD's policy. */
function wanted({ next }: Decision): string {
  const letters = (chain: string): string =>
    ruleTexts(next.chains.get(chain)?.items ?? [])
      .map((text) => String.fromCharCode(Number(/10\.0\.0\.(\d+)/.exec(text)?.[1])))
      .join('');
  const web = next.chains.has('web') ? letters('web') : '-';
  return `${letters('FORWARD')}/${letters('INPUT')}/${web} ${next.chains.get('FORWARD')?.policy}`;
}

const FULL_LOAD: Act = { run: 'iptables-restore', deletesTable: true, addsTable: true, deleted: 7, added: 7 };
const FLUSH: Act = { run: 'iptables -F', deleted: 7, chains: ['FORWARD', 'INPUT', 'web'] };
const ADD: Act = { run: 'iptables -A FORWARD', added: 1 };
const DELETE: Act = { run: 'iptables -D FORWARD', deleted: 1 };
const LIBVIRT_REWRITE: Act = { parents: [LIBVIRTD], chains: ['LIBVIRT_FWI'], deleted: 1 };

type Row = readonly [what: string, told: Told, kind: Decision['kind'], wanted: string];

const FLUSHED = addCommit(openBurst(0), commit(FLUSH), 0).tables.get('ip filter');

const ROWS: readonly Row[] = [
  // wipes that could not be mended at once
  [
    'a rule added after the burst of a flush, before the flush was mended: it stays in effect, above them',
    { live: { forward: 'XIOe', input: '', web: '' }, situation: { summary: FLUSHED } },
    'wipe',
    'eabcd/ij/w ACCEPT',
  ],
  // displaced
  [
    'displaced: libvirt’s jumps stand elsewhere, the user’s rules are as they were',
    { live: { forward: 'abcdXIO' }, acts: [LIBVIRT_REWRITE] },
    'kept',
    'abcd/ij/w ACCEPT',
  ],
  [
    'displaced: the user’s order changed in a neighbour’s burst',
    { live: { forward: 'XIObacd' }, acts: [LIBVIRT_REWRITE, { deleted: 1, added: 1 }] },
    'damage',
    'abcd/ij/w ACCEPT',
  ],
  // loads
  [
    'a load by a known loader is adopted, however little it shares',
    {
      live: { forward: 'e', input: 'f', web: undefined },
      acts: [{ ...FULL_LOAD, unit: 'netfilter-persistent.service' }],
    },
    'load',
    'e/f/- ACCEPT',
  ],
  [
    'a load by hand with half of the snapshot’s rules is adopted',
    { live: { forward: 'abXIOef', input: 'i', web: 'w' }, acts: [FULL_LOAD] },
    'load',
    'abef/i/w ACCEPT',
  ],
  [
    'a load by hand with less than half is `replaced`: left as loaded',
    { live: { forward: 'XIOaef', input: 'ik', web: '' }, acts: [FULL_LOAD] },
    'replaced',
    'aef/ik/ ACCEPT',
  ],
  [
    'a load that knows nothing of libvirt is adopted all the same',
    { live: { forward: 'abcde', libvirt: false }, acts: [FULL_LOAD] },
    'load',
    'abcde/ij/w ACCEPT',
  ],
  [
    'a load brings its policies',
    { live: { forward: 'abc', policy: 'DROP' }, acts: [FULL_LOAD] },
    'load',
    'abc/ij/w DROP',
  ],
  [
    'a load of the same rules changes nothing',
    { live: { libvirt: false, forward: 'abcd' }, acts: [FULL_LOAD] },
    'kept',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a load decides itself, before the burst is over',
    { live: { forward: 'abce' }, acts: [FULL_LOAD], situation: { burstOver: false } },
    'load',
    'abce/ij/w ACCEPT',
  ],
  [
    'on_load = restore: only the snapshot counts',
    { live: { forward: 'abce' }, acts: [FULL_LOAD], situation: { onLoad: 'restore' } },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  // scripts
  [
    'a script: flush, then its rules again, changed',
    { live: { forward: 'abe', input: 'i', web: 'w' }, acts: [FLUSH, ADD, ADD, ADD] },
    'load',
    'abe/i/w ACCEPT',
  ],
  [
    'a script: flush, then other rules',
    { live: { forward: 'efg', input: '', web: undefined }, acts: [FLUSH, { chainsDeleted: ['web'] }, ADD, ADD] },
    'replaced',
    'efg//- ACCEPT',
  ],
  [
    'a script is not judged before its burst is over',
    { live: { forward: 'a', input: '', web: undefined }, acts: [FLUSH, ADD], situation: { burstOver: false } },
    'wait',
    'abcd/ij/w ACCEPT',
  ],
  // wipes
  ['a wipe: iptables -F', { live: { forward: '', input: '', web: '' }, acts: [FLUSH] }, 'wipe', 'abcd/ij/w ACCEPT'],
  [
    'a wipe: iptables -F; -X',
    {
      live: { forward: '', input: '', web: undefined, libvirt: false },
      acts: [FLUSH, { chainsDeleted: ['INPUT', 'FORWARD', 'web'] }],
    },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a wipe: nft flush ruleset',
    { live: { noTable: true }, acts: [{ run: 'nft flush ruleset', deletesTable: true, deleted: 9 }] },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a wipe: a load of an empty table',
    { live: { forward: '', input: '', web: undefined, libvirt: false }, acts: [FULL_LOAD] },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a wipe: a stale dump with nothing of the user’s',
    { live: { forward: 'XIO', input: '', web: undefined }, acts: [FULL_LOAD] },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a wipe takes a policy back that went with it',
    { live: { forward: '', input: '', web: undefined, policy: 'ACCEPT' }, base: { policy: 'DROP' }, acts: [FULL_LOAD] },
    'wipe',
    'abcd/ij/w DROP',
  ],
  [
    'a wipe by somebody who closes the host: no flush sets DROP, so it is not opened again',
    {
      live: { forward: '', input: '', web: '', policy: 'DROP' },
      acts: [{ run: 'iptables -P FORWARD DROP', chainsAdded: ['FORWARD'] }, FLUSH],
    },
    'wipe',
    'abcd/ij/w DROP',
  ],
  [
    'the same as a load that brings only DROP',
    { live: { forward: '', input: '', web: undefined, policy: 'DROP' }, acts: [FULL_LOAD] },
    'wipe',
    'abcd/ij/w DROP',
  ],
  [
    'a wipe of one chain',
    { live: { forward: '' }, acts: [{ run: 'iptables -F FORWARD', deleted: 7 }] },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a wipe of the user’s own chain',
    { live: { web: '' }, acts: [{ run: 'iptables -F web', deleted: 1, chains: ['web'] }] },
    'wipe',
    'abcd/ij/w ACCEPT',
  ],
  [
    'nothing is written between a wipe and the end of its burst',
    { live: { forward: '', input: '', web: '' }, acts: [FLUSH], situation: { burstOver: false } },
    'wait',
    'abcd/ij/w ACCEPT',
  ],
  [
    'nor after a load that brought nothing',
    { live: { forward: '', input: '', web: undefined }, acts: [FULL_LOAD], situation: { burstOver: false } },
    'wait',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a whole-table load by a known neighbour is a wipe; its own lines stay',
    { live: { forward: 'ef', input: '', web: undefined }, acts: [{ ...FULL_LOAD, parents: ['/usr/sbin/firewalld'] }] },
    'wipe',
    'efabcd/ij/w ACCEPT',
  ],
  [
    'a person’s load in a neighbour’s burst is the person’s',
    { live: { forward: 'abce' }, acts: [{ ...DELETE, parents: [LIBVIRTD] }, FULL_LOAD] },
    'load',
    'abce/ij/w ACCEPT',
  ],
  // single changes
  ['a rule added', { live: { forward: 'eXIOabcd' }, acts: [ADD] }, 'pending', 'eabcd/ij/w ACCEPT'],
  [
    'a rule added in a neighbour’s burst',
    { live: { forward: 'eXIOabcd' }, acts: [LIBVIRT_REWRITE, ADD] },
    'pending',
    'eabcd/ij/w ACCEPT',
  ],
  ['a rule deleted', { live: { forward: 'XIOabd' }, acts: [DELETE] }, 'pending', 'abd/ij/w ACCEPT'],
  [
    'every rule of a chain deleted, one by one, by name',
    { live: { input: '' }, acts: [DELETE, DELETE] },
    'pending',
    'abcd//w ACCEPT',
  ],
  [
    'every rule of the table deleted, one by one, by name',
    { live: { forward: 'XIO', input: '', web: '' }, acts: [DELETE, DELETE, DELETE] },
    'pending',
    '// ACCEPT',
  ],
  [
    'a rule replaced',
    { live: { forward: 'XIOabce' }, acts: [{ run: 'iptables -R', deleted: 1, added: 1 }] },
    'pending',
    'abce/ij/w ACCEPT',
  ],
  ['rules moved', { live: { forward: 'XIOdabc' }, acts: [DELETE, ADD] }, 'pending', 'dabc/ij/w ACCEPT'],
  [
    'a chain of the user’s own taken down',
    {
      live: { web: undefined },
      acts: [
        DELETE,
        { run: 'iptables -F web', deleted: 1, chains: ['web'] },
        { run: 'iptables -X web', chainsDeleted: ['web'] },
      ],
    },
    'pending',
    'abcd/ij/- ACCEPT',
  ],
  [
    'a new chain',
    { base: { web: undefined }, live: { web: 'w' }, acts: [{ run: 'iptables -N web', chainsAdded: ['web'] }] },
    'pending',
    'abcd/ij/w ACCEPT',
  ],
  [
    'rules replaced in one transaction by --noflush',
    { live: { forward: 'XIOabef' }, acts: [{ run: 'iptables-restore -n', deleted: 2, added: 2 }] },
    'pending',
    'abef/ij/w ACCEPT',
  ],
  [
    'a rule deleted while on_delete = restore',
    { live: { forward: 'XIOabd' }, acts: [DELETE], situation: { onDelete: 'restore' } },
    'damage',
    'abcd/ij/w ACCEPT',
  ],
  [
    'an addition is not judged in an open burst, but not hidden either',
    { live: { forward: 'eXIOabcd' }, acts: [ADD], situation: { burstOver: false } },
    'pending',
    'eabcd/ij/w ACCEPT',
  ],
  [
    'a deletion is not judged in an open burst',
    { live: { forward: 'XIOabd' }, acts: [DELETE], situation: { burstOver: false } },
    'wait',
    'abcd/ij/w ACCEPT',
  ],
  // damage
  [
    'a rule lost in a neighbour’s burst',
    { live: { forward: 'XIOabd' }, acts: [LIBVIRT_REWRITE, { deleted: 1 }] },
    'damage',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a rule lost by a process known as a neighbour',
    { live: { forward: 'XIOabd' }, acts: [{ ...DELETE, parents: ['neutron-linuxbridge-agent'] }] },
    'damage',
    'abcd/ij/w ACCEPT',
  ],
  [
    'a rule that somebody else deleted in a neighbour’s burst',
    { live: { forward: 'XIOabd' }, acts: [LIBVIRT_REWRITE, DELETE] },
    'pending',
    'abd/ij/w ACCEPT',
  ],
  [
    'damage undone keeps what was added meanwhile',
    { live: { forward: 'XIOeabd' }, acts: [LIBVIRT_REWRITE, { deleted: 1 }, ADD] },
    'damage',
    'eabcd/ij/w ACCEPT',
  ],
  // policies
  [
    'a policy changed by itself',
    { live: { policy: 'DROP' }, acts: [{ run: 'iptables -P FORWARD DROP', chainsAdded: ['FORWARD'] }] },
    'pending',
    'abcd/ij/w DROP',
  ],
  [
    'a policy changed by a neighbour: its owner cannot be told',
    { live: { policy: 'DROP' }, acts: [{ parents: ['dockerd'], chainsAdded: ['FORWARD'] }] },
    'pending',
    'abcd/ij/w DROP',
  ],
  // without events
  [
    'without events: the neighbours’ rules went with it',
    {
      live: { forward: 'abce', libvirt: false },
      situation: { evidence: { wholeTableNew: true, bootFile: undefined } },
    },
    'load',
    'abce/ij/w ACCEPT',
  ],
  [
    'without events: less than half of it, and the neighbours gone',
    {
      live: { forward: 'aef', input: '', web: undefined, libvirt: false },
      situation: { evidence: { wholeTableNew: true, bootFile: undefined } },
    },
    'replaced',
    'aef//- ACCEPT',
  ],
  [
    'without events: the user’s rules equal a boot file’s',
    {
      live: { forward: 'e', input: '', web: undefined },
      situation: { evidence: { wholeTableNew: false, bootFile: '/etc/sysconfig/iptables' } },
    },
    'load',
    'e//- ACCEPT',
  ],
  ['without events: no user rule left', { live: { forward: 'XIO', input: '', web: '' } }, 'wipe', 'abcd/ij/w ACCEPT'],
  ['without events: the table is gone', { live: { noTable: true } }, 'wipe', 'abcd/ij/w ACCEPT'],
  ['without events: a built-in chain without a user rule', { live: { forward: 'XIO' } }, 'wipe', 'abcd/ij/w ACCEPT'],
  ['without events: any other difference', { live: { forward: 'XIOabe', policy: 'DROP' } }, 'pending', 'abe/ij/w DROP'],
  [
    'without events, on_delete = restore',
    { live: { forward: 'XIOabe' }, situation: { onDelete: 'restore' } },
    'damage',
    'abecd/ij/w ACCEPT',
  ],
];

describe('whose voice is it?', () => {
  it.each(ROWS)('%s', (_, told, kind, expected) => {
    const decision = decide(told);
    expect({ kind: decision.kind, wanted: wanted(decision) }).toEqual({ kind, wanted: expected });
  });

  it('says why, in key=value words', () => {
    const load = decide({ live: { forward: 'abXIOef', input: 'i' }, acts: [{ ...FULL_LOAD, unit: 'ferm.service' }] });
    expect(load.evidence).toEqual(['by=transaction', 'shared=4/7', 'loader=ferm.service']);
    expect(decide({ live: { forward: 'XIOabd' }, acts: [DELETE] }).evidence).toEqual(['FORWARD=pending']);
  });

  it('keeps each slot where it stood through all of this', () => {
    for (const [, told] of ROWS) {
      if (told.base !== undefined) continue;
      const slots =
        decide(told)
          .next.chains.get('FORWARD')
          ?.items.filter((item) => item.kind === 'slot') ?? [];
      expect(slots.map((slot) => (slot.kind === 'slot' ? slot.texts.length : 0))).toEqual([3]);
    }
  });
});

describe('a neighbour that is told by its rules', () => {
  const docker = ['-A FORWARD -j DOCKER-USER', '-A FORWARD -o docker0 -j DOCKER'];
  const mine = ['-A FORWARD -s 10.0.0.1/32 -j DROP', '-A FORWARD -s 10.0.0.2/32 -j DROP'];
  const decideOf = (before: string[], now: string[], act: Act): Decision => {
    const read = (rules: string[]): ReturnType<typeof rulesetOf> =>
      parseDocument(
        ['*filter', ':FORWARD ACCEPT [0:0]', ':DOCKER - [0:0]', ':DOCKER-USER - [0:0]', ...rules, 'COMMIT', ''].join(
          '\n',
        ),
        'ip',
      ).ruleset;
    return decideTable({
      table: 'filter',
      wish: snapshotOf(read(before)).wish.tables.get('filter'),
      live: classify(read(now), undefined).tables.get('filter'),
      summary: addCommit(openBurst(0), commit(act), 0).tables.get('ip filter'),
      evidence: { wholeTableNew: false, bootFile: undefined },
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      isGuestBridge: () => false,
    });
  };
  const byDocker: Act = { run: 'iptables', parents: ['dockerd'], deleted: 1, added: 1 };

  it.each([
    ['takes its own rule away: its word, nothing of the user’s', [docker[0], ...mine], 'kept'],
    ['moves its own rule to the top: the same', [docker[1], docker[0], ...mine], 'kept'],
    ['takes a rule of the user’s: damage', [...docker, mine[0]], 'damage'],
    ['moves the user’s rules: damage', [...docker, mine[1], mine[0]], 'damage'],
  ])('%s', (_, now, kind) => {
    const before = [...docker, ...mine];
    const decision = decideOf(
      before,
      now.filter((rule) => rule !== undefined),
      byDocker,
    );
    expect(decision.kind).toBe(kind);
    expect(ruleTexts(decision.next.chains.get('FORWARD')?.items ?? [])).toEqual(mine);
  });
});

describe('a rule of the user’s in a neighbour’s chain', () => {
  const jump = '-A INPUT -j ufw-before-input';
  const own = '-A ufw-before-input -i lo -j ACCEPT';
  const mine = '-A ufw-before-input -p tcp -m comment --comment "mine" -j ACCEPT';
  const user = '-A DOCKER-USER -s 10.0.0.1/32 -j DROP';
  const read = (rules: string[]): ReturnType<typeof rulesetOf> =>
    parseDocument(
      [
        '*filter',
        ':INPUT ACCEPT [0:0]',
        ':ufw-before-input - [0:0]',
        ':DOCKER-USER - [0:0]',
        jump,
        ...rules,
        'COMMIT',
        '',
      ].join('\n'),
      'ip',
    ).ruleset;
  const decideOf = (now: string[], act: Act): Decision =>
    decideTable({
      table: 'filter',
      wish: snapshotOf(read([own, mine, user])).wish.tables.get('filter'),
      live: classify(read(now), undefined).tables.get('filter'),
      summary: addCommit(openBurst(0), commit(act), 0).tables.get('ip filter'),
      evidence: { wholeTableNew: false, bootFile: undefined },
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      isGuestBridge: () => false,
    });
  const rewrite: Act = { run: 'iptables-restore -n', chains: ['ufw-before-input'], deleted: 2, added: 1 };

  it.each([
    ['goes when that neighbour rewrites the chain', [own, user], { ...rewrite, parents: ['ufw'] }, 'pending', []],
    [
      'goes when only that chain was rewritten, by whom could not be read',
      [own, user],
      { ...rewrite, run: 'iptables' },
      'pending',
      [],
    ],
    ['comes back when another neighbour took it', [own, user], { ...rewrite, parents: ['dockerd'] }, 'damage', [mine]],
    [
      'comes back when the chain is left to the user',
      [own, mine],
      { run: 'iptables -F', chains: ['DOCKER-USER'], deleted: 1, parents: ['dockerd'] },
      'wipe',
      [mine],
    ],
  ] as const)('%s', (_, now, act, kind, left) => {
    const decision = decideOf([...now], act);
    expect(decision.kind).toBe(kind);
    expect(ruleTexts(decision.next.chains.get('ufw-before-input')?.items ?? [])).toEqual(left);
    expect(ruleTexts(decision.next.chains.get('DOCKER-USER')?.items ?? [])).toEqual([user]);
  });
});

describe('a rule that its neighbour claims by now', () => {
  it('leaves the user’s part: a set of libvirt’s became whole while it was being read', () => {
    const service = (protocol: string, port: number): string =>
      `-A INPUT -i virbr0 -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`;
    const text = (rules: string[]): string =>
      ['*filter', ':INPUT ACCEPT [0:0]', ...rules, '-A INPUT -s 10.0.0.1/32 -j DROP', 'COMMIT', ''].join('\n');
    const half = parseDocument(text([service('udp', 67), service('tcp', 67)]), 'ip').ruleset;
    const whole = parseDocument(
      text([service('udp', 53), service('tcp', 53), service('udp', 67), service('tcp', 67)]),
      'ip',
    ).ruleset;
    const wish = snapshotOf(half).wish.tables.get('filter');
    expect(ruleTexts(wish?.chains.get('INPUT')?.items ?? [])).toHaveLength(3);
    const classified = classify(whole, undefined);
    expect(neighbourPartOf(classified).tables.get('filter')?.get('INPUT')?.rules).toHaveLength(4);
    const decision = decideTable({
      table: 'filter',
      wish,
      live: classified.tables.get('filter'),
      summary: undefined,
      evidence: { wholeTableNew: false, bootFile: undefined },
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      isGuestBridge: () => false,
    });
    expect(decision.kind).toBe('kept');
    expect(ruleTexts(decision.next.chains.get('INPUT')?.items ?? [])).toEqual(['-A INPUT -s 10.0.0.1/32 -j DROP']);
  });
});
