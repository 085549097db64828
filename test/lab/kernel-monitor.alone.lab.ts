// The kernel's event source against real nft monitor, iptables-nft and nft.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createNftMonitor } from '../../src/events/nft-monitor.ts';
import type { Command, Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';
import type { Commit, GuardEvent, Source, SourceHealth } from '../../src/events/types.ts';
import { describeAuthor, readAuthor } from '../../src/observe/author.ts';
import { neighbourOf } from '../../src/observe/author-kind.ts';
import { nativeShapeOf, shapeOf } from '../events/monitor-capture.ts';
import { upHypervisor } from './host.ts';
import { openNetns, report, rulesetOf, type NetnsHost } from './netns-host.ts';

interface Timed {
  readonly event: GuardEvent;
  readonly atMs: number;
}

interface Listening {
  readonly source: Source;
  readonly seen: Timed[];
  readonly health: SourceHealth[];
  /** Forgets what was seen so far. */
  clear(): void;
  commits(): Commit[];
  looks(): string[];
  /** Resolves when `ready` holds; fails after 20 s with what was seen. */
  until(ready: () => boolean): Promise<void>;
  /** Until nothing came for `ms` (default 150). */
  quiet(ms?: number): Promise<void>;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const BASE = '+INPUT +FORWARD +OUTPUT';
const GONE = '-INPUT -FORWARD -OUTPUT';

let netns: NetnsHost;
let open: Source | undefined;

beforeAll(async () => {
  netns = await openNetns();
});
afterEach(async () => {
  await open?.close();
  await netns.sh('nft flush ruleset');
});
afterAll(() => netns.close());

function listenerOn(host: Host, command?: Command, onEvent = (): void => undefined): Listening {
  const seen: Timed[] = [];
  const health: SourceHealth[] = [];
  const source = createNftMonitor({
    host,
    readAuthor: (pid, comm) => readAuthor(host.proc, '/proc', pid, comm),
    ...(command === undefined ? {} : { command }),
  });
  const events = (): GuardEvent[] => seen.map(({ event }) => event);
  const looks = (): string[] => events().flatMap((event) => (event.kind === 'look' ? [event.reason] : []));
  async function until(ready: () => boolean): Promise<void> {
    const startedMs = performance.now();
    while (!ready()) {
      if (performance.now() - startedMs > 20_000)
        throw new Error(`never came; seen: ${JSON.stringify(seen.slice(-5))}, ${looks().join('; ')}`);
      await sleep(2);
    }
  }
  async function quiet(ms = 150): Promise<void> {
    for (let before = -1; before !== seen.length;) {
      before = seen.length;
      await sleep(ms);
    }
  }
  open = source;
  void source.start({
    event(event) {
      seen.push({ event, atMs: performance.now() });
      onEvent();
    },
    health: (value) => void health.push(value),
  });
  const commits = (): Commit[] => events().flatMap((event) => (event.kind === 'commit' ? [event.commit] : []));
  return { source, seen, health, clear: () => void (seen.length = 0), commits, looks, until, quiet };
}

async function listening(host: Host = netns.host, command?: Command): Promise<Listening> {
  const listener = listenerOn(host, command);
  await listener.until(() => listener.health.at(-1)?.state === 'ok');
  await listener.quiet();
  listener.clear();
  return listener;
}

/** What ran, on what it ran, and the commits it must be. `RULES` is rulesetOf() on stdin. */
const CASES: readonly {
  readonly name: string;
  readonly before: string;
  readonly run: string;
  readonly shapes: readonly string[];
}[] = [
  {
    name: '(a) a full restore of the same rules is one transaction that replaces the table',
    before: 'iptables-restore',
    run: 'iptables-restore',
    shapes: [`ip filter: -table +table, rules +4 -4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE} -MYCH`],
  },
  {
    name: '(b) so is one of changed rules',
    before: 'iptables-restore',
    run: "sed 's/--dport 22/--dport 23/' | iptables-restore",
    shapes: [`ip filter: -table +table, rules +4 -4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE} -MYCH`],
  },
  {
    name: '(c) a restore of an empty table with chain lines adds no rule',
    before: 'iptables-restore',
    run: "printf '*filter\\n:INPUT ACCEPT\\n:FORWARD ACCEPT\\n:OUTPUT ACCEPT\\nCOMMIT\\n' | iptables-restore",
    shapes: [`ip filter: -table +table, rules -4 in INPUT FORWARD MYCH, chains ${BASE} ${GONE} -MYCH`],
  },
  {
    name: "(c') a restore of a bare table deletes it",
    before: 'iptables-restore',
    run: "printf '*filter\\nCOMMIT\\n' | iptables-restore",
    shapes: [`ip filter: -table, rules -4 in INPUT FORWARD MYCH, chains ${GONE} -MYCH`],
  },
  {
    name: "(c'') a restore of two tables is one transaction a table",
    before: ':',
    run: '(printf "*raw\\nCOMMIT\\n*nat\\n-A POSTROUTING -j ACCEPT\\nCOMMIT\\n"; cat) | iptables-restore',
    shapes: [
      'ip nat: +table, rules +1 in POSTROUTING, chains +POSTROUTING',
      `ip filter: +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH`,
    ],
  },
  {
    name: "(d) iptables -F deletes every rule at once; (d') -X deletes the chains, built-in ones with policy ACCEPT too",
    before: 'iptables-restore',
    run: 'iptables -F; iptables -F; iptables -X',
    shapes: ['ip filter: rules -4 in INPUT FORWARD MYCH', 'ip filter: chains -INPUT -OUTPUT -MYCH'],
  },
  {
    name: '(e) -F FORWARD',
    before: 'iptables-restore',
    run: 'iptables -F FORWARD',
    shapes: ['ip filter: rules -2 in FORWARD'],
  },
  {
    name: '(f) single commands: -A -I -R -D -P -Z -N -X',
    before: 'iptables-restore',
    run: `iptables -A INPUT -p udp -j ACCEPT; iptables -I INPUT -p udp -j DROP; iptables -R INPUT 1 -p udp -j LOG; iptables -D INPUT 1
      iptables -P FORWARD ACCEPT; iptables -Z; iptables -N mw-1; iptables -X mw-1`,
    shapes: [
      'ip filter: rules +1 in INPUT',
      'ip filter: rules +1 in INPUT',
      'ip filter: rules +1 -1 in INPUT',
      'ip filter: rules -1 in INPUT',
      'ip filter: chains +FORWARD',
      `ip filter: chains ${BASE}`,
      'ip filter: chains +mw-1',
      'ip filter: chains -mw-1',
    ],
  },
  {
    name: 'the first insert into a chain that the kernel does not have yet declares it',
    before: ':',
    run: 'ip6tables -I FORWARD -j DROP',
    shapes: ['ip6 filter: +table, rules +1 in FORWARD, chains +FORWARD'],
  },
  {
    name: '(g) nft flush ruleset deletes all tables of all families in one transaction',
    before: 'iptables-restore; ip6tables -N X; nft add table inet t',
    run: 'nft flush ruleset',
    shapes: [
      `ip filter: -table, rules -4 in INPUT FORWARD MYCH, chains ${GONE} -MYCH | ip6 filter: -table, chains -X | elsewhere`,
    ],
  },
  {
    name: "(g') nft delete table ip filter",
    before: 'iptables-restore; ip6tables -N X',
    run: 'nft delete table ip filter',
    shapes: [`ip filter: -table, rules -4 in INPUT FORWARD MYCH, chains ${GONE} -MYCH`],
  },
  {
    name: '(h) nft -f with a flush and rules',
    before: 'iptables-restore',
    run: "printf 'flush ruleset\\ntable ip filter {\\nchain FORWARD {\\ntype filter hook forward priority 0\\naccept\\n}\\n}\\n' | nft -f -",
    shapes: [`ip filter: -table +table, rules +1 -4 in INPUT FORWARD MYCH, chains +FORWARD ${GONE} -MYCH`],
  },
  {
    name: "(h') nft -f that replaces its own table is elsewhere",
    before: 'iptables-restore; nft add table inet t',
    run: "printf 'table inet t\\ndelete table inet t\\ntable inet t {\\nchain c {\\naccept\\n}\\n}\\n' | nft -f -",
    shapes: ['elsewhere'],
  },
  {
    name: '(i) restore --noflush: an append, a chain rewrite, a chain load',
    before: 'iptables-restore',
    run: `printf '*filter\\n-A FORWARD -j LOG\\n-A FORWARD -j ACCEPT\\nCOMMIT\\n' | iptables-restore --noflush
      printf '*filter\\n:MYCH - [0:0]\\n-A MYCH -j RETURN\\nCOMMIT\\n' | iptables-restore --noflush
      printf '*filter\\n-F FORWARD\\n-A FORWARD -j MYCH\\nCOMMIT\\n' | iptables-restore --noflush`,
    shapes: ['ip filter: rules +2 in FORWARD', 'ip filter: rules +1 -1 in MYCH', 'ip filter: rules +1 -4 in FORWARD'],
  },
  {
    name: '(j) a firewall script: wipes, then a load',
    before: 'iptables-restore; iptables -t nat -A POSTROUTING -j ACCEPT',
    run: 'iptables -F; iptables -t nat -F; iptables -X MYCH; iptables-restore',
    shapes: [
      'ip filter: rules -4 in INPUT FORWARD MYCH',
      'ip nat: rules -1 in POSTROUTING',
      'ip filter: chains -MYCH',
      `ip filter: -table +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE}`,
    ],
  },
];

/** Runs a script in which a bare `iptables-restore` reads rulesetOf(). */
const runCase = (script: string): Promise<string> =>
  netns.sh(
    `RULES=$(cat; echo .); RULES=\${RULES%.}; run() { ${script.replace(/; *iptables-restore$/, '; printf %s "$RULES" | iptables-restore')}
  }; printf %s "$RULES" | run`,
    rulesetOf(),
  );

describe('what happened, in the kernel’s words', () => {
  for (const { name, before, run, shapes } of CASES) {
    it(name, async () => {
      await runCase(before);
      const listener = await listening();
      await runCase(run);
      await listener.until(() => listener.commits().length >= shapes.length);
      await listener.quiet();
      expect(listener.commits().map(shapeOf)).toEqual(shapes);
      expect(listener.looks()).toEqual([]);
    });
  }

  it('-F of what is empty already says nothing at all', async () => {
    await netns.sh('iptables -N MYCH');
    const listener = await listening();
    await netns.sh('iptables -F; iptables -F MYCH');
    await listener.quiet();
    expect(listener.seen).toEqual([]);
  });

  it('a plan with the sentinel in front is touched first at the sentinel, and names it in the commit', async () => {
    await netns.sh('iptables -A FORWARD -j ACCEPT; iptables -N mw-old');
    const listener = await listening();
    await netns.sh(
      "printf '*filter\\n-X mw-old\\n-N mw-new\\n-D FORWARD -j ACCEPT\\n-I FORWARD 1 -j ACCEPT\\nCOMMIT\\n' | iptables-restore --noflush",
    );
    await listener.until(() => listener.commits().length > 0);
    expect(listener.seen[0]?.event).toEqual({ kind: 'touched', family: 'ip', table: 'filter', chain: 'mw-old' });
    expect(listener.commits().map(shapeOf)).toEqual(['ip filter: rules +1 -1 in FORWARD, chains +mw-new -mw-old']);
  });

  it('loses nothing of 200 inserts one after another', async () => {
    const listener = await listening();
    await netns.sh('for i in $(seq 200); do iptables -I INPUT -p udp --dport $i -j ACCEPT; done');
    await listener.until(() => listener.commits().length >= 200);
    const generations = listener.commits().map(({ generation }) => generation);
    expect(generations).toEqual(generations.map((_, index) => (generations[0] ?? 0) + index));
    expect(listener.looks()).toEqual([]);
    expect(listener.commits().reduce((sum, { changes }) => sum + (changes[0]?.rulesAdded ?? 0), 0)).toBe(200);
  });
});

const NATIVE = `table inet filter {
  set banned { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
  chain input { type filter hook input priority 0; ip saddr @banned drop; tcp dport 22 accept; }
}
`;
const REMADE = 'inet filter: -table +table, rules +2 -2 in input, chains +input -input, objects 2, elements 2';

describe('what nft does to native tables', () => {
  it.each<[string, string, readonly string[]]>([
    ['a file that begins with flush ruleset', `flush ruleset\n${NATIVE}`, [REMADE]],
    [
      'flush table and its rules',
      'flush table inet filter\ntable inet filter { chain input { tcp dport 23 accept; }; }\n',
      ['inet filter: rules +1 -2 in input, chains +input'],
    ],
    ['an element', 'add element inet filter banned { 192.0.2.3 }\n', ['inet filter: elements 1']],
    [
      'a comment that reads like a change',
      'add rule inet filter input drop comment "a\ndelete table ip filter"\n',
      ['inet filter: rules +1 in input'],
    ],
    [
      'a mark of ours, which nobody finds afterwards',
      'add chain inet filter mw-1a1b2c3d\ndelete chain inet filter mw-1a1b2c3d\n',
      ['inet filter: chains +mw-1a1b2c3d -mw-1a1b2c3d'],
    ],
  ])('%s is one commit, and touches nothing of iptables', async (_, input, shapes) => {
    await netns.sh('nft -f -', NATIVE);
    const listener = await listening();
    await netns.sh('nft -f -', input);
    await listener.until(() => listener.commits().length >= shapes.length);
    expect(listener.commits().map(nativeShapeOf)).toEqual(shapes);
    expect(listener.seen.map(({ event }) => event.kind)).toEqual(['commit']);
    expect(await netns.sh('nft list ruleset')).not.toContain('mw-');
  });

  it('a deletion by name has its author', async () => {
    await netns.sh('nft -f -', NATIVE);
    const listener = await listening();
    await netns.sh('nft delete table inet filter; true');
    await listener.until(() => listener.commits().length > 0);
    const [commit] = listener.commits();
    expect(commit?.native).toMatchObject([{ deletesTable: true, addsTable: false, rulesDeleted: 2 }]);
    expect(commit?.author.cmdline).toEqual(['nft', 'delete', 'table', 'inet', 'filter']);
  });

  it('an anonymous chain, whose generation line nft 1.0.6 leaves out, is a commit or a look', async () => {
    const listener = await listening();
    await netns.sh('nft -f -', 'table inet c { chain in { tcp dport 7 jump { accept; }; }; }\n');
    await listener.until(() => listener.commits().length + listener.looks().length > 0);
    report(`anonymous chain: ${listener.commits().length} commits, looks ${listener.looks().join('; ')}`);
  });
});

describe('blindness and loss', () => {
  it('whoever reads at every event has the change that was made while the monitor read 5,000 rules', async () => {
    await netns.sh('iptables-restore', rulesetOf(5_000));
    const reads: Promise<string>[] = [];
    const listener = listenerOn(netns.host, undefined, () => void reads.push(netns.sh('iptables-save')));
    await sleep(15);
    const startedMs = performance.now();
    await netns.sh('iptables -I MYCH -p tcp --dport 1 -j ACCEPT');
    await listener.until(() => listener.health.at(-1)?.state === 'ok');
    await listener.quiet();
    const { atMs = 0 } = listener.seen.findLast(({ event }) => event.kind === 'look') ?? {};
    report(`5,000 rules: last look ${Math.round(atMs - startedMs)} ms after the change began, ${reads.length} events`);
    expect(await reads.at(-1)).toContain('-A MYCH -p tcp -m tcp --dport 1 -j ACCEPT');
    listener.clear();
    await netns.sh('iptables -I MYCH -p tcp --dport 2 -j ACCEPT');
    await listener.until(() => listener.commits().length === 1);
  });

  it('a monitor that is killed is started again, with a look, and hears again', async () => {
    const listener = await listening();
    const pid = /pid (\d+)/.exec(listener.health.at(-1)?.detail ?? '')?.[1]; // nft monitor pid 4421
    process.kill(Number(pid), 'SIGKILL');
    await listener.until(() => listener.health.at(-1)?.state === 'degraded');
    await netns.sh('iptables -A INPUT -j ACCEPT');
    await listener.until(() => listener.health.at(-1)?.state === 'ok');
    expect(listener.looks()).toEqual([
      'nft monitor ended',
      expect.stringContaining('starts'),
      expect.stringContaining('joined'),
    ]);
    await listener.quiet();
    await netns.sh('iptables -A INPUT -j DROP');
    await listener.until(() => listener.commits().length === 1);
  });

  it('whatever an object of nft does to the monitor, the flush that follows is told', async () => {
    // nft 1.0.6 crashes when a ct timeout object is deleted, in the middle of that transaction.
    await netns.sh(
      'iptables -A INPUT -j ACCEPT; nft -f -',
      'table ip6 filter {\nct timeout t {\nprotocol tcp\nl3proto ip6\npolicy = { established : 100 }\n}\n}\n',
    );
    const listener = await listening();
    await netns.sh('nft flush ruleset');
    await listener.until(() => listener.commits().length + listener.looks().length > 0);
    await listener.until(() => listener.health.at(-1)?.state === 'ok');
    await listener.quiet();
    const crashed = listener.health.some(({ detail }) => detail.includes('SIGSEGV'));
    report(crashed ? 'this nft monitor crashed and was started again' : 'this nft monitor did not crash');
    expect(crashed ? listener.looks() : listener.commits()).not.toEqual([]);
    listener.clear();
    await netns.sh('iptables -A INPUT -j DROP');
    await listener.until(() => listener.commits().length === 1);
  });

  it('an overflow of the kernel’s queue is a look, no half transaction is given as a commit, and commits go on', async () => {
    await netns.sh('iptables-restore', rulesetOf(4_000));
    const listener = await listening();
    const pid = Number(/pid (\d+)/.exec(listener.health.at(-1)?.detail ?? '')?.[1]); // nft monitor pid 4421
    process.kill(pid, 'SIGSTOP');
    // Each is 2.5 MB of messages or more, against a queue of 16 MiB.
    for (let round = 0; round < 12; round += 1) await netns.sh('iptables-restore', rulesetOf(4_000, round + 1));
    process.kill(pid, 'SIGCONT');
    await listener.until(() => listener.looks().length > 0);
    await listener.quiet(1_500); // the monitor needs a second to read out its queue, and hears nothing new meanwhile
    report(`overflow: ${listener.looks().join(' | ')}; ${listener.commits().length} commits`);
    expect(listener.looks()[0]).toBe('the kernel dropped events');
    expect(listener.commits()).toEqual([]);
    listener.clear();
    await netns.sh('iptables -A INPUT -j DROP');
    await listener.until(() => listener.looks().length > 0);
    expect(listener.looks()).toEqual([expect.stringMatching(/^generation \d+ came after \d+: by iptables pid \d+$/)]); // generation 9 came after 5: by iptables pid 77
    await netns.sh('iptables -A INPUT -j ACCEPT');
    await listener.until(() => listener.commits().length > 0);
    expect(listener.commits().map(shapeOf)).toEqual(['ip filter: rules +1 in INPUT']);
  });
});

describe('who did it', () => {
  it('a deletion has its author with parents, measured over 40', async () => {
    await netns.sh('for i in $(seq 40); do iptables -A INPUT -p udp --dport $i -j ACCEPT; done');
    const listener = await listening();
    await netns.sh('for i in $(seq 40); do iptables -D INPUT 1; done');
    await listener.until(() => listener.commits().length >= 40);
    const authors = listener.commits().map(({ author }) => author);
    const whole = authors.filter(
      ({ cmdline, parents }) => cmdline?.join(' ') === 'iptables -D INPUT 1' && parents[0]?.comm === 'bash',
    );
    report(`deletions with command line and parent: ${whole.length} of 40, e.g. ${describeAuthor(authors[0]!)}`);
    expect(whole.length).toBeGreaterThan(30);
  });

  it('an insertion never has a wrong author, measured over 40', async () => {
    const listener = await listening();
    await netns.sh('for i in $(seq 40); do iptables -I INPUT -p udp --dport $i -j ACCEPT; done');
    await listener.until(() => listener.commits().length >= 40);
    const authors = listener.commits().map(({ author }) => author);
    const withParent = authors.filter(({ parents }) => parents.length > 0);
    const withCommand = authors.filter(({ cmdline }) => cmdline !== undefined);
    report(`insertions with command line: ${withCommand.length}, with parent: ${withParent.length} of 40`);
    expect(authors.every(({ comm }) => comm === 'iptables')).toBe(true);
    expect(withCommand.every(({ cmdline }) => cmdline?.[1] === '-I')).toBe(true);
    expect(withParent.every(({ parents }) => parents[0]?.comm === 'bash')).toBe(true);
  });

  it('a program called firewalld that runs iptables-restore is known by its parent', async () => {
    const listener = await listening();
    await netns.sh(
      `cd "$(mktemp -d)"; cat > rules; printf '#!/bin/bash\\niptables-restore < rules\\niptables -F\\nsleep 0.1\\n' > firewalld; chmod +x firewalld; ./firewalld; rm -r "$PWD"`,
      rulesetOf(),
    );
    await listener.until(() => listener.commits().length >= 2);
    const flush = listener.commits()[1]?.author;
    expect(flush && neighbourOf(flush)).toEqual({
      name: 'firewalld',
      evidence: expect.stringMatching(/^parent firewalld pid \d+$/),
    }); // parent firewalld pid 812
  });

  it('(k) what libvirtd writes at a restart and a SIGHUP is one rule a commit, and its author is libvirt or unknown', async () => {
    const hypervisor = await upHypervisor({ name: 'mwk', libvirtDbus: false });
    const host = realHost({ ownFolders: [] });
    try {
      const command = { file: 'nsenter', args: ['-t', String(hypervisor.pid), '--net', 'nft', 'monitor'] };
      const listener = await listening(host, command);
      await hypervisor.libvirtd.restart();
      await hypervisor.libvirtd.sighup();
      await listener.quiet(600);
      const commits = listener.commits();
      const known = commits.filter(({ author }) => neighbourOf(author)?.name === 'libvirt');
      const deletions = commits.filter(({ changes }) => changes.some(({ rulesDeleted }) => rulesDeleted > 0));
      const knownDeletions = deletions.filter((commit) => known.includes(commit));
      report(
        `libvirt: ${known.length} of ${commits.length} commits known, ${knownDeletions.length} of ${deletions.length} deletions`,
      );
      expect(commits.length).toBeGreaterThan(70);
      for (const commit of commits)
        expect(shapeOf(commit)).toMatch(/^ip (filter|nat|mangle): rules [+-]1 in LIBVIRT_\w+$/); // ip nat: rules -1 in LIBVIRT_PRT
      expect(commits.filter((commit) => !known.includes(commit) && commit.author.parents.length > 0)).toEqual([]);
      expect(knownDeletions.length).toBeGreaterThan(deletions.length * 0.9);
      await open?.close();
    } finally {
      await hypervisor.down();
      await host.close();
    }
  });
});

describe('how fast', () => {
  it('measures the time from the start of the command to `touched` and to `commit`', async () => {
    await netns.sh('iptables-restore', rulesetOf(1_000));
    const listener = await listening();
    const rows: string[] = [];
    for (const [name, file, args] of [
      ['iptables -I', 'iptables', ['-I', 'MYCH', '-j', 'RETURN']],
      ['iptables -D', 'iptables', ['-D', 'MYCH', '1']],
    ] as const) {
      const times = { touched: [] as number[], commit: [] as number[], command: [] as number[] };
      for (let round = 0; round < 20; round += 1) {
        listener.clear();
        const startedMs = performance.now();
        await netns.host.exec({ file, args });
        times.command.push(performance.now() - startedMs);
        await listener.until(() => listener.commits().length === 1);
        for (const { event, atMs } of listener.seen) {
          if (event.kind === 'touched' || event.kind === 'commit') times[event.kind].push(atMs - startedMs);
        }
      }
      const { touched, commit, command } = times;
      rows.push(
        `${name}: touched ${median(touched).toFixed(1)}, commit ${median(commit).toFixed(1)}, command ended ${median(command).toFixed(1)} ms`,
      );
    }
    report(rows.join('\n'));
    expect(rows).toHaveLength(2);
  });

  it('measures a load of 10,000 rules: the first event comes long before the commit', async () => {
    const listener = await listening();
    const rules = rulesetOf(10_000);
    await netns.sh('iptables-restore', rules);
    const endedMs = performance.now();
    await listener.until(() => listener.commits().length === 1);
    const [touched] = listener.seen;
    const commit = listener.seen.at(-1);
    expect(touched?.event.kind).toBe('touched');
    expect(listener.commits()[0]?.changes[0]?.rulesAdded).toBe(10_004);
    report(
      `10,000 rules: touched ${Math.round((touched?.atMs ?? 0) - endedMs)} ms, commit ${Math.round((commit?.atMs ?? 0) - endedMs)} ms after the command’s end`,
    );
  });
});
