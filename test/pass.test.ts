// One pass at a time on the fake kernel: what it does, what it leaves alone, and what the journal and the memory hold then.

import { describe, expect, it } from 'vitest';
import type { ChangeSummary } from '../src/merge/decide.ts';
import { NO_NATIVE_CHANGE } from '../src/merge/native-summary.ts';
import { runPass } from '../src/pass.ts';
import type { Outcome, PassRequest } from '../src/pass/types.ts';
import { nativePart } from '../src/ruleset/nft/native-part.ts';
import { parseNft } from '../src/ruleset/nft/parse.ts';
import { printNftTable } from '../src/ruleset/nft/print.ts';
import { handRequest } from '../src/verbs/hand.ts';
import { openRoom, type Room } from './guard/machine-room.ts';
import { liveWord } from './guard/user-word.ts';
import type { BridgeNetwork } from './generate/libvirt-rules.ts';

const DEFAULT: BridgeNetwork = { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' };
const USER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -j web
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
-A web -s 10.0.0.0/8 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.122.10:80
COMMIT
`;
const QUIET: ChangeSummary = {
  replaced: false,
  wiped: false,
  addedAfterWipe: false,
  neighbour: undefined,
  byNeighbour: undefined,
  byOther: false,
  loader: undefined,
};
/** What the monitor told of IPv4's tables. */
const heard = (change: Partial<ChangeSummary>, tables = ['filter']): Partial<PassRequest> => ({
  summaries: (family) => new Map(family === 'ip' ? tables.map((table) => [table, { ...QUIET, ...change }]) : []),
});

interface Bench extends Room {
  /** What a person does; throws when it fails. */
  admin(line: string, input?: string): void;
  pass(more?: Partial<PassRequest>): Promise<Outcome>;
  live(): string;
  /** Live texts that the journal kept. */
  kept(): string[];
}

/** After init with the slot of libvirt's jumps above the catch-all, and a first pass that put them there. */
async function bench(user = USER): Promise<Bench> {
  const room = await openRoom({
    user,
    defined: [DEFAULT],
    before: (libvirt) => [libvirt.netStart(DEFAULT)],
    place: 'above',
  });
  const { kernel, files } = room.machine;
  const pass = (more: Partial<PassRequest> = {}): Promise<Outcome> =>
    runPass(room.context(), handRequest('merge', more));
  const done = await pass();
  expect(done.kind).toBe('mended');
  return {
    ...room,
    admin(line, input = '') {
      const { exitCode, stderr } = kernel.foreign(line.split(' '), input);
      if (exitCode !== 0) throw new Error(`${line}: ${stderr}`);
    },
    pass,
    live: () => kernel.save('ip').replace(/^:mw-.*\n/gm, ''),
    kept: () => [...files.texts].filter(([path]) => path.includes('/journal/')).map(([, text]) => bare(text)),
  };
}

/** Without comment lines, counters and lock chains. */
const bare = (text: string): string =>
  text
    .replace(/^#.*\n|^:mw-.*\n/gm, '')
    .replace(/^\[\d+:\d+\] /gm, '')
    .replace(/ \[\d+:\d+\]$/gm, ' [0:0]');

const JUMPS = ['X', 'I', 'O'].map((end) => `-A FORWARD -j LIBVIRT_FW${end}`);
const displace = (room: Bench): void => {
  for (const jump of JUMPS) room.admin(`iptables -D${jump.slice(2)}`);
  for (const jump of [...JUMPS].reverse()) room.admin(`iptables -I${jump.slice(2)}`);
};

describe('a pass', () => {
  it('leaves a rule with a line break in its comment alone, and says when a flush took it', async () => {
    const room = await bench();
    const { kernel } = room.machine;
    kernel.foreign(['iptables', '-I', 'FORWARD', '-m', 'comment', '--comment', 'a\nb', '-j', 'ACCEPT'], '');
    await room.pass(heard({}));
    const before = room.live();
    expect(before).toContain('-A FORWARD -m comment --comment "a\nb" -j ACCEPT\n');
    displace(room);
    const mended = await room.pass(heard({ neighbour: 'libvirt' }));
    expect(mended.kind).toBe('mended');
    expect(room.live()).toContain('"a\nb"');
    room.admin('iptables -F');
    for (const round of [1, 2]) {
      const outcome = await room.pass(round === 1 ? heard({ wiped: true }) : heard({}));
      expect(outcome.kind).toBe(round === 1 ? 'mended' : 'unchanged');
      const [drift] = outcome.drift.filter(({ kind }) => kind === 'waiting');
      expect(drift).toMatchObject({ chain: 'FORWARD', evidence: expect.stringContaining('line break') as string });
    }
    expect(room.live()).not.toContain('"a');
  });

  it('warns of a broken network definition once, not at each pass', async () => {
    const room = await bench();
    room.machine.files.texts.set('/etc/libvirt/qemu/networks/torn.xml', '<network>');
    await room.pass();
    await room.pass();
    const told = room.machine.logged.filter(({ message }) => message.includes('torn.xml'));
    expect(told.map(({ level }) => level)).toEqual(['warning']);
  });

  it('puts back what a neighbour displaced, and a second pass is empty', async () => {
    const room = await bench();
    const before = room.live();
    displace(room);
    expect(room.live()).not.toBe(before);
    const outcome = await room.pass(heard({ neighbour: 'libvirt' }));
    expect(outcome).toMatchObject({
      kind: 'mended',
      mended: [{ kind: 'displaced', chain: 'FORWARD', owner: 'libvirt' }],
    });
    expect(room.live()).toBe(before);
    expect(await room.pass(heard({}))).toMatchObject({ kind: 'unchanged', changed: false });
  });

  it('leaves a user rule out of a chain of libvirt’s when a person deleted it there, though it was the only one', async () => {
    const room = await bench();
    const rule = 'LIBVIRT_FWI -s 203.0.113.0/24 -j ACCEPT';
    room.admin(`iptables -I ${rule}`);
    await room.pass(heard({ byOther: true }));
    room.admin(`iptables -D ${rule}`);
    await room.pass(heard({ byOther: true }));
    expect(room.live()).not.toContain(rule);
    expect(await room.pass(heard({}))).toMatchObject({ kind: 'unchanged', changed: false });
  });

  it('that looks at one table says nothing of the tables it did not read', async () => {
    const room = await bench();
    const outcome = await room.pass({ ...heard({}), scope: [{ family: 'ip', table: 'mangle' }], burstOver: false });
    expect(outcome).toMatchObject({ kind: 'unchanged', drift: [] });
  });

  it('brings the user’s rules, chains and policies back after a flush, libvirt’s with repair', async () => {
    const room = await bench();
    const before = room.live();
    room.admin('nft flush ruleset');
    const outcome = await room.pass({ ...heard({ wiped: true }, ['mangle', 'filter', 'nat']), repair: true });
    expect(outcome.tables.find(({ table }) => table === 'filter')?.decision).toBe('wipe');
    expect(room.live()).toBe(before);
    expect(await room.pass({ repair: true })).toMatchObject({ kind: 'unchanged' });
  });

  it('adopts nothing of a host that was closed and flushed while nobody listened: the rules come back, the DROP is shown', async () => {
    for (const flush of ['iptables -F', 'iptables -F FORWARD']) {
      const room = await bench(USER.replace(':FORWARD DROP', ':FORWARD ACCEPT'));
      const before = room.context().memory.snapshotId;
      const rules = liveWord(room.machine.kernel)['ip filter FORWARD']?.slice(1);
      room.admin('iptables -P FORWARD DROP');
      room.admin(flush);
      const outcome = await room.pass({ trigger: 'start', repair: true });
      expect([flush, outcome.kind, outcome.adopted]).toEqual([flush, 'mended', undefined]);
      expect(room.context().memory.snapshotId).toBe(before);
      expect(liveWord(room.machine.kernel)['ip filter FORWARD']).toEqual(['DROP', ...(rules ?? [])]);
      const again = await room.pass({ trigger: 'backstop', repair: true });
      expect(again).toMatchObject({ kind: 'unchanged', drift: [{ kind: 'policy', text: '-P FORWARD DROP' }] });
    }
  });

  it('adopts a load that holds half of the snapshot, says what it dropped, and keeps the old snapshot', async () => {
    const room = await bench();
    const old = room.context().memory.snapshotId;
    room.admin('iptables-restore', USER.replace('-A FORWARD -j web\n', ''));
    const outcome = await room.pass({ ...heard({ replaced: true, wiped: true, addedAfterWipe: true }), repair: true });
    expect(outcome.dropped).toEqual(['ip filter -A FORWARD -j web']);
    expect(outcome.adopted).toBe(room.context().memory.snapshotId);
    expect(outcome.adopted).not.toBe(old);
    expect((await room.context().files.store.load(old ?? '')).kind).toBe('snapshot');
  });

  it('leaves what a person changed, as pending, through later mends', async () => {
    const room = await bench();
    room.admin('iptables -D FORWARD -j web');
    const word = liveWord(room.machine.kernel);
    expect((await room.pass(heard({ byOther: true }))).drift).toContainEqual(
      expect.objectContaining({ kind: 'pending', chain: 'FORWARD', text: '-D FORWARD -j web' }),
    );
    displace(room);
    expect(await room.pass(heard({ neighbour: 'libvirt' }))).toMatchObject({ kind: 'mended' });
    expect(liveWord(room.machine.kernel)).toEqual(word);
  });

  it('decides nothing of an open burst that lacks user rules', async () => {
    const room = await bench();
    room.admin('iptables -F');
    const flushed = room.live();
    const outcome = await room.pass({
      ...heard({ wiped: true }),
      burstOver: false,
      scope: [{ family: 'ip', table: 'filter' }],
    });
    expect(outcome.kind).toBe('waiting-for-quiet');
    expect(room.live()).toBe(flushed);
  });

  it('decides nothing of a burst that went on after the pass was asked for', async () => {
    const room = await bench();
    room.admin('iptables -F');
    const outcome = await room.pass({ ...heard({ wiped: true }), overNow: () => false });
    expect(outcome).toMatchObject({ overtaken: true, changed: false });
    expect(await room.pass({ ...heard({ wiped: true }), overNow: () => false, capped: true })).toMatchObject({
      kind: 'mended',
    });
  });

  it('writes nothing in observe mode and in a dry run, and says what it would do', async () => {
    const room = await bench();
    displace(room);
    const displaced = room.live();
    const commits = room.machine.kernel.generation();
    for (const more of [{ mode: 'observe' }, { dryRun: true }] as const)
      expect(await room.pass({ ...heard({ neighbour: 'libvirt' }), ...more })).toMatchObject({
        kind: 'would-mend',
        changed: false,
      });
    expect(room.live()).toBe(displaced);
    expect(room.machine.kernel.generation()).toBe(commits);
  });

  it('changes nothing when the rules cannot be read', async () => {
    const room = await bench();
    displace(room);
    const commits = room.machine.kernel.generation();
    room.machine.answer('iptables-save', () => ({ stdout: "# Table `nat' is incompatible, use 'nft' tool.\n" }));
    expect(await room.pass()).toMatchObject({ kind: 'unreadable', changed: false });
    expect(room.machine.kernel.generation()).toBe(commits);
  });

  it('leaves iptables’ part alone that cannot be read, and goes on with the native tables', async () => {
    const room = await bench();
    const mine = `table inet mine {\n\tchain input {\n\t\ttype filter hook input priority 5; policy accept;\n\t\tdrop\n\t}\n}\n`;
    const { memory } = room.context();
    memory.wish = { ...memory.wish, native: nativePart(parseNft(mine).tables) };
    displace(room);
    const commits = room.machine.kernel.generation();
    let live = '';
    room.machine.answer('iptables-save', () => ({ stdout: "# Table `nat' is incompatible, use 'nft' tool.\n" }));
    room.machine.answer('nft', ({ args = [], input = '' }) => {
      if (args[0] === '-f') live = parseNft(input).tables.map(printNftTable).join('');
      return { stdout: args[0] === '-f' ? '' : live };
    });
    const native = new Map([['inet mine', { ...NO_NATIVE_CHANGE, wiped: true, byOther: true }]]);
    const outcome = await room.pass({ ...heard({}), native });
    expect(outcome).toMatchObject({ kind: 'unreadable', why: expect.stringContaining('nat') as string });
    expect(live).toContain('chain input');
    expect(room.machine.kernel.generation()).toBe(commits);
    expect(room.context().memory.wish.native.has('inet mine')).toBe(true);
    expect((await room.pass({ ...heard({}), native: new Map() })).kind).toBe('unreadable');
  });

  it('changes nothing and learns nothing while iptables-save shows a native nft rule as another', async () => {
    const room = await bench();
    const expr = '[{"match":{"left":{"payload":{"field":"dport"}},"right":{"set":[80,443]}}},{"accept":null}]';
    room.machine.answer('nft', ({ args }) =>
      args[0] !== '-j'
        ? undefined
        : { stdout: `{"nftables":[{"rule":{"table":"filter","chain":"INPUT","expr":${expr}}}]}` },
    );
    room.admin('iptables -A INPUT -p tcp -j ACCEPT');
    const { wish } = room.context().memory;
    const outcome = await room.pass();
    expect(outcome).toMatchObject({
      kind: 'unreadable',
      changed: false,
      why: expect.stringContaining('INPUT') as string,
    });
    expect(room.context().memory.wish).toBe(wish);
    const fast = { ...heard({}), burstOver: false, scope: [{ family: 'ip' as const, table: 'filter' }] };
    expect(await room.pass(fast)).toMatchObject({ kind: 'unreadable' });
  });

  it('only observes while both engines hold rules, and says why', async () => {
    const room = await bench();
    room.admin('iptables-legacy -A INPUT -j ACCEPT');
    displace(room);
    const outcome = await room.pass(heard({ neighbour: 'libvirt' }));
    expect(outcome).toMatchObject({ kind: 'would-mend', changed: false });
    expect(outcome.why).toMatch(/both engines hold rules/);
  });
});

describe('a rule that cannot be loaded now', () => {
  const SET_RULE = '-A INPUT -m set --match-set bad src -j DROP';
  const withSet = async (): Promise<Bench> => {
    const room = await bench();
    room.machine.kernel.sets.add('bad');
    room.admin(`iptables ${SET_RULE}`);
    await room.pass(heard({ byOther: true }));
    room.admin('iptables -F');
    room.machine.kernel.sets.delete('bad');
    return room;
  };

  it('waits, and the others come back in order', async () => {
    const room = await withSet();
    const outcome = await room.pass(heard({ wiped: true }));
    expect(outcome.kind).toBe('mended');
    expect(outcome.drift).toContainEqual(expect.objectContaining({ kind: 'waiting', text: SET_RULE }));
    expect(liveWord(room.machine.kernel)['ip filter INPUT']).toEqual([
      'ACCEPT',
      '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT',
    ]);
  });

  it('is tried again, and comes back to its place when its set is there', async () => {
    const room = await withSet();
    await room.pass(heard({ wiped: true }));
    expect(await room.pass(heard({}))).toMatchObject({ changed: false });
    room.machine.kernel.sets.add('bad');
    expect(await room.pass(heard({}))).toMatchObject({ kind: 'mended' });
    expect(liveWord(room.machine.kernel)['ip filter INPUT']?.at(-1)).toBe(SET_RULE);
    expect(room.context().memory.waiting).toEqual([]);
  });
});

describe('a race', () => {
  it('that the kernel notices is read again', async () => {
    const room = await bench();
    const before = room.live();
    displace(room);
    room.machine.kernel.failNextCommit();
    expect(await room.pass(heard({ neighbour: 'libvirt' }))).toMatchObject({ kind: 'mended' });
    expect(room.live()).toBe(before);
  });

  it('with a load between read and commit fails the whole batch: nobody’s rule is hit, and the load is dealt with', async () => {
    const room = await bench();
    displace(room);
    const other = USER.replace('-A FORWARD -d', '-A FORWARD -s 203.0.113.9/32 -j DROP\n-A FORWARD -d');
    room.machine.kernel.beforeCommit(() => room.admin('iptables-restore', other));
    await room.pass({ ...heard({ neighbour: 'libvirt', replaced: true, byOther: true }), repair: true });
    expect(liveWord(room.machine.kernel)['ip filter FORWARD']?.slice(1)).toEqual(
      other.split('\n').filter((line) => line.startsWith('-A FORWARD')),
    );
  });

  it('with an insertion between read and commit loses nothing', async () => {
    const room = await bench();
    displace(room);
    room.machine.kernel.beforeCommit(() => room.admin('iptables -I FORWARD -s 203.0.113.9/32 -j DROP'));
    await room.pass(heard({ neighbour: 'libvirt', byOther: true }));
    expect(liveWord(room.machine.kernel)['ip filter FORWARD']).toHaveLength(5);
    expect(await room.pass(heard({}))).toMatchObject({ kind: 'unchanged' });
  });

  it('that never ends is bounded and reported', async () => {
    const room = await bench();
    let count = 0;
    displace(room);
    room.machine.kernel.inEveryWindow(() => {
      count++;
      displace(room);
    });
    const outcome = await room.pass(heard({ neighbour: 'libvirt' }));
    expect(outcome).toMatchObject({ kind: 'failed', why: 'the table changed again after each commit' });
    expect(count).toBeLessThan(10);
  });
});

describe('before each write', () => {
  it('the journal holds the text that is replaced', async () => {
    const room = await bench();
    displace(room);
    const displaced = room.live();
    const outcome = await room.pass(heard({ neighbour: 'libvirt' }));
    expect(room.kept()).toContain(bare(displaced));
    expect(outcome.kept).toHaveLength(1);
  });

  it('a journal that cannot hold it stops a plan that takes a text away, and nothing is written', async () => {
    const room = await bench();
    room.admin('iptables -A INPUT -s 203.0.113.9/32 -j DROP');
    const live = room.machine.kernel.save('ip');
    room.machine.files.fillDisk('/var/lib/mendwall');
    await expect(room.pass({ authority: 'snapshot' })).rejects.toThrow(/disk is full/);
    expect(room.machine.kernel.save('ip')).toBe(live);
  });

  it('but lets a flushed wall be put up again', async () => {
    const room = await bench();
    const word = liveWord(room.machine.kernel);
    room.admin('iptables -F');
    room.machine.files.fillDisk('/var/lib/mendwall');
    expect(await room.pass(heard({ wiped: true }))).toMatchObject({ kind: 'mended' });
    expect(liveWord(room.machine.kernel)).toEqual(word);
  });
});

describe('a neighbour that mendwall does not repair', () => {
  const NEIGHBOURS = `*filter
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:f2b-sshd - [0:0]
-I INPUT 1 -p tcp -m multiport --dports 22 -j f2b-sshd
-A f2b-sshd -s 192.0.2.9/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
-I FORWARD 1 -j DOCKER-USER
-I FORWARD 2 -o docker0 -j DOCKER
-A DOCKER-USER -s 203.0.113.66/32 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
`;
  const USERS = '-A DOCKER-USER -s 203.0.113.66/32 -j DROP';
  const lostOf = ({ drift }: Outcome): string[] =>
    drift
      .filter(({ kind }) => kind.startsWith('foreign-'))
      .map(({ kind, owner, evidence }) => `${kind} ${owner}: ${evidence}`);

  /** The bench with Docker and fail2ban on it; the user's rule in DOCKER-USER is in the snapshot. */
  async function crowded(): Promise<Bench> {
    const [head, ...rules] = NEIGHBOURS.split('\n')
      .slice(1, -2)
      .reduce<[string[], ...string[]]>(
        ([chains, ...lines], line) => (line.startsWith(':') ? [[...chains, line], ...lines] : [chains, ...lines, line]),
        [[]],
      );
    const room = await bench(
      USER.replace(':web', `${head.join('\n')}\n:web`).replace('-A web', `${rules.join('\n')}\n-A web`),
    );
    expect((await room.pass({ neighboursQuiet: true })).kind).toBe('unchanged');
    const context = room.context();
    expect(context.memory.known.ip?.tables.get('filter')?.get('f2b-sshd')?.owner).toBe('fail2ban');
    return room;
  }

  it('is reported by owner when a flush took its rules, with what puts it right, until it has written again', async () => {
    const room = await crowded();
    room.admin('iptables -F');
    const told = [
      'foreign-lost docker: docker lost 3 rules, first -A FORWARD -j DOCKER-USER; puts it right: systemctl restart docker',
      'foreign-lost fail2ban: fail2ban lost 3 rules, first -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd; puts it right: fail2ban-client reload --restart',
    ];
    const first = await room.pass({ ...heard({ wiped: true }), repair: true });
    expect(first.kind).toBe('mended');
    expect(
      lostOf(first)
        .map((line) => line.replace(/ \(.*$/, ''))
        .sort(),
    ).toEqual(told);
    // Said again, from memory, but nothing is done about it, and libvirt's word is not its own.
    for (const more of [heard({}), { neighboursQuiet: true }, { dryRun: true }]) {
      const again = await room.pass(more);
      expect(again.changed).toBe(false);
      expect(lostOf(again)).toHaveLength(2);
    }
    room.admin('iptables-restore --noflush', NEIGHBOURS.replace(/^:DOCKER.*\n|^.*DOCKER.*\n/gm, ''));
    expect(lostOf(await room.pass(heard({ writers: ['fail2ban'] })))).toEqual([expect.stringContaining('docker')]);
    room.admin('iptables -I FORWARD 1 -j DOCKER-USER');
    expect(lostOf(await room.pass(heard({})))).toEqual([]);
  });

  it('speaks for itself when it takes its own rules away: no drift, nothing comes back', async () => {
    const room = await crowded();
    room.admin('iptables -D INPUT -p tcp -m multiport --dports 22 -j f2b-sshd');
    room.admin('iptables -F f2b-sshd');
    room.admin('iptables -X f2b-sshd');
    room.admin('iptables -D FORWARD -o docker0 -j DOCKER');
    const before = room.live();
    for (const more of [
      heard({ neighbour: 'fail2ban', writers: ['fail2ban', 'docker'] }),
      { neighboursQuiet: true },
      {},
    ]) {
      const outcome = await room.pass(more);
      expect(outcome).toMatchObject({ kind: 'unchanged', changed: false });
      expect(lostOf(outcome)).toEqual([]);
    }
    expect(room.live()).toBe(before);
  });

  it('speaks for itself also where nothing is heard and the user’s rules are those of a boot file', async () => {
    const room = await crowded();
    room.machine.files.texts.set('/etc/iptables/rules.v4', room.live());
    room.admin('iptables -D FORWARD -o docker0 -j DOCKER');
    const outcome = await room.pass({});
    expect(outcome.tables.find(({ table }) => table === 'filter')?.decision).toBe('kept');
    expect(lostOf(outcome)).toEqual([]);
  });

  it('makes its chains itself: the user’s rules in them wait, and stand above its own when it is back', async () => {
    const room = await crowded();
    room.admin('nft flush ruleset');
    const outcome = await room.pass({ ...heard({ wiped: true }), repair: true });
    expect(room.live()).not.toContain('DOCKER-USER');
    const waiting = outcome.drift.filter(({ kind }) => kind === 'waiting');
    expect(waiting).toMatchObject([{ chain: 'DOCKER-USER', text: USERS }]);
    expect(await room.pass(heard({}))).toMatchObject({
      kind: 'unchanged',
      tables: expect.not.arrayContaining([expect.objectContaining({ decision: 'pending' })]) as unknown,
    });
    // dockerd starts; who it was could not be read.
    room.admin(
      'iptables-restore --noflush',
      '*filter\n:DOCKER-USER - [0:0]\n-I FORWARD 1 -j DOCKER-USER\n-A DOCKER-USER -j RETURN\nCOMMIT\n',
    );
    const back = await room.pass(heard({ byOther: true }));
    expect(back.changed).toBe(true);
    const inside = room
      .live()
      .split('\n')
      .filter((line) => line.startsWith('-A DOCKER-USER'));
    expect(inside).toEqual([USERS, '-A DOCKER-USER -j RETURN']);
    expect((await room.pass(heard({}))).drift.filter(({ kind }) => kind === 'waiting')).toEqual([]);
  });
});
