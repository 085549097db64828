// The user's native tables on the real nft, pass by pass: what was there comes back, once, and nothing else is touched.
// SEED=... varies the generated rulesets; NFT_RULESETS=... makes more of them.

import { dirname } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { openContext } from '../../src/context.ts';
import { type Command, type ExecResult, type Host, HostError } from '../../src/host/host.ts';
import { type NativeSummary, NO_NATIVE_CHANGE } from '../../src/merge/native-summary.ts';
import { runPass } from '../../src/pass.ts';
import type { Outcome, PassContext, PassRequest } from '../../src/pass/types.ts';
import { canonicalTable } from '../../src/ruleset/nft/same.ts';
import { ownerOfNativeTable } from '../../src/owners/index.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';
import { tableKey } from '../../src/ruleset/nft/types.ts';
import { unloadableIn } from '../../src/ruleset/nft/unloadable.ts';
import { eagerClock } from '../verbs/fixture.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { accept } from '../../src/verbs/accept.ts';
import { handRequest } from '../../src/verbs/hand.ts';
import { init } from '../../src/verbs/init.ts';
import type { World } from '../../src/verbs/types.ts';
import { nftCaptures } from '../captures/nft.ts';
import { nftRulesets } from '../generate/nft-ruleset.ts';
import { SEED } from '../generate/seed.ts';
import { openNetns, type NetnsHost, report } from './netns-host.ts';

const COUNT = Number(process.env['NFT_RULESETS'] ?? 6);
const GENERATED = fc.sample(nftRulesets, { numRuns: COUNT, seed: SEED });

let netns: NetnsHost;
let world: World;
/** Called before each command; may answer instead of it. */
let before: (command: Command) => Promise<void> | void;
/** What a command ends with, instead of what it would. */
let answer: (command: Command) => Partial<ExecResult> | undefined;

beforeEach(async () => {
  netns = await openNetns();
  before = () => undefined;
  answer = () => undefined;
  const exec: Host['exec'] = async (command) => {
    await before(command);
    const instead = answer(command);
    return instead === undefined
      ? netns.host.exec(command)
      : { ...(await netns.host.exec({ file: 'true', args: [] })), ...instead, command };
  };
  const host: Host = { ...netns.host, exec, clock: eagerClock(netns.host.clock) };
  const folder = dirname(netns.lockPath);
  const read = await readConfig(host.files, { path: `${folder}/none.toml`, explicit: false, overrides: [] });
  if (read.kind === 'problems') throw new Error(read.problems[0]?.message);
  const config = { ...read.config, mode: 'merge' as const, stateDir: `${folder}/state`, runDir: `${folder}/run` };
  world = { config, context: (await openContext(host, config)).context };
});
afterEach(() => netns.close());

const nft = (input: string): Promise<string> => netns.sh('nft -f -', input);
const list = (): Promise<string> => netns.sh('nft -s list ruleset');
const tables = (text: string): string[] =>
  parseNft(text)
    .tables.map((table) => canonicalTable(table))
    .sort();
/** Without what iptables-nft makes for itself when it is asked. */
const native = async (): Promise<string[]> => tables(await list());

async function begin(input: string): Promise<PassContext> {
  await nft(input);
  await start();
  return world.context;
}

async function start(force = false): Promise<void> {
  const result = await init(world, { from: [], place: 'as-found', force, dryRun: false });
  if (result.kind === 'refused') throw new Error(JSON.stringify(result));
}

const pass = (more: Partial<PassRequest> = {}): Promise<Outcome> =>
  runPass(world.context, handRequest('merge', { trigger: 'lab', by: [], ...more }));

const heard = (key: string, said: Partial<NativeSummary>): Partial<PassRequest> => ({
  summaries: () => new Map(),
  native: new Map([[key, { ...NO_NATIVE_CHANGE, ...said }]]),
});

/** Flushes all, runs two passes: the first brings all back, the second finds nothing to do. */
async function comesBack(): Promise<void> {
  const was = await native();
  await netns.sh('nft flush ruleset');
  const first = await pass();
  expect(await native(), JSON.stringify(first.drift)).toEqual(was);
  const second = await pass();
  expect(second.tables.flatMap(({ edits }) => edits)).toEqual([]);
  expect(second.drift.filter(({ kind }) => kind === 'pending' || kind === 'waiting')).toEqual([]);
}

const isUsers = (key: string): boolean => ownerOfNativeTable(key) === undefined;

describe('after `nft flush ruleset`', () => {
  it('every table of the captures that nft loads comes back, and a second pass is empty', async () => {
    let loaded = 0;
    const known = new Set<string>();
    for (const { text } of nftCaptures()) {
      for (const table of parseNft(text).tables) {
        if (
          !isUsers(tableKey(table)) ||
          /^(?:ip6?|bridge|arp) (?:filter|nat|broute|mangle|raw|security)$/.test(tableKey(table)) ||
          unloadableIn(table).length > 0
        )
          continue;
        if (known.has(canonicalTable(table))) continue;
        known.add(canonicalTable(table));
        await netns.sh('nft flush ruleset');
        const took = await netns.host.exec({ file: 'nft', args: ['-f', '-'], input: printNftTable(table) });
        if (took.exitCode !== 0) continue;
        loaded++;
        await start(true);
        await comesBack();
      }
    }
    expect(loaded).toBeGreaterThan(3);
  });

  it('generated rulesets come back, and a second pass is empty', async () => {
    for (const text of GENERATED) {
      await netns.sh('nft flush ruleset');
      await nft(text);
      await start(true);
      await comesBack();
    }
  });
});

const FORMS = `
table inet own {
	comment "two # handle 1
lines # handle 2"
	ct helper ftp { type "ftp" protocol tcp; l3proto inet; }
	synproxy px { mss 1460 wscale 7 timestamp sack-perm }
	set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; counter; }
	set banned { type ipv4_addr; flags interval,timeout; elements = { 10.0.0.0/8 timeout 1h comment "# handle 7", 1.2.3.4-1.2.3.9 } }
	map doors { type ipv4_addr . inet_service : verdict; elements = { 1.1.1.1 . 22 : accept, 1.1.1.2 . 80 : jump web } }
	chain web { comment "of the web # handle 3"
		tcp dport 80 accept
	}
	chain in {
		type filter hook input priority filter; policy drop;
		tcp dport 22 jump { tcp sport 1 accept; drop; }
		ip saddr . tcp dport vmap @doors
		ip saddr @banned counter drop comment "a # handle 11
b # handle 11"
		meter m { ip saddr limit rate 5/second } accept
		update @seen { ip saddr }
		accept comment "# handle 5"
	}
	chain thru {
		type filter hook forward priority filter - 1; policy accept;
		accept
	}
}
table netdev front {
	chain first { type filter hook ingress device "lo" priority -500; policy accept; ip saddr 9.9.9.9 drop; }
}
table bridge mine {
	chain f { type filter hook forward priority 0; policy accept; ether saddr 00:11:22:33:44:55 drop; }
}
table arp mine {
	chain i { type filter hook input priority 0; policy accept; arp operation request counter accept; }
}
`;

describe('a table with all forms of text', () => {
  it('comes back whole', async () => {
    await begin(FORMS);
    await comesBack();
  });

  it('gets single chains back that were flushed, and keeps the rest as it is', async () => {
    await begin(FORMS);
    const was = await native();
    await netns.sh('nft add element inet own seen "{ 7.7.7.7 }"; nft flush chain inet own in');
    const outcome = await pass();
    expect(outcome.kind, outcome.why).toBe('mended');
    expect(await native()).toEqual(was);
    expect(await netns.sh('nft list set inet own seen')).toContain('7.7.7.7');
    expect((await pass()).tables.flatMap(({ edits }) => edits)).toEqual([]);
  });

  it('keeps nothing of mendwall in it', async () => {
    await begin(FORMS);
    await netns.sh('nft flush ruleset');
    await pass();
    expect(await list()).not.toContain('mw-');
  });
});

describe('a rule that cannot be loaded now', () => {
  const RULES = `table inet own {
	chain in {
		type filter hook input priority 0; policy accept;
		tcp dport 1 accept
		iif "dummy7" accept
		tcp dport 3 accept
	}
}
`;

  it('waits, the rest is loaded, and it comes back in its place', async () => {
    await netns.sh('ip link add dummy7 type bridge');
    await begin(RULES);
    const was = await native();
    await netns.sh('nft flush ruleset; ip link del dummy7');
    const first = await pass();
    expect(first.drift.filter(({ kind }) => kind === 'waiting')).toHaveLength(1);
    expect(await list()).toContain('tcp dport 3');
    const second = await pass();
    expect(second.drift.map(({ kind }) => kind)).toEqual(['waiting']);
    await netns.sh('ip link add dummy7 type bridge');
    expect((await pass()).kind).toBe('mended');
    expect(await native()).toEqual(was);
    expect((await pass()).kind).toBe('unchanged');
  });

  it('waits also where events told of the flush', async () => {
    await netns.sh('ip link add dummy7 type bridge');
    await begin(RULES);
    const was = await native();
    await netns.sh('nft flush ruleset; ip link del dummy7');
    await pass(heard('inet own', { wiped: true, byOther: true }));
    await pass();
    await netns.sh('ip link add dummy7 type bridge');
    await pass();
    expect(await native()).toEqual(was);
  });

  it.each([
    [
      'a chain of the device',
      'chain g { type filter hook ingress device "dummy7" priority 1; policy accept; tcp dport 4 drop; }',
    ],
  ])('%s: what stands of its table is never deleted', async (_name, object) => {
    await netns.sh('ip link add dummy7 type bridge');
    await begin(`table inet own { ${object}
	chain in { type filter hook input priority 0; policy accept; tcp dport 1 accept; }
}`);
    const was = await native();
    await netns.sh('ip link del dummy7');
    await pass();
    await pass();
    expect(await list()).toContain('tcp dport 1');
    await netns.sh('nft flush ruleset');
    await pass();
    expect(await list()).toContain('tcp dport 1');
    await netns.sh('ip link add dummy7 type bridge');
    await pass();
    await pass();
    if (_name.includes('chain')) expect(await native()).toEqual(was);
    expect(await list()).toContain('tcp dport 1');
  });
});

describe('a table with a rule for an interface that is gone', () => {
  const DEAD = `table inet dead { chain in { type filter hook input priority 0; iif "dummy7" drop; tcp dport 1 accept; tcp dport 2 drop; }; }
`;
  const OTHER = `table inet other { chain in { type filter hook input priority 0; tcp dport 3 accept; tcp dport 4 drop; }; }
`;

  it('is left as it is, the rule is named with what to do, and the other tables are mended', async () => {
    await netns.sh('ip link add dummy7 type bridge');
    await begin(DEAD + OTHER);
    const was = await native();
    await netns.sh('ip link del dummy7; nft flush chain inet dead in; nft flush chain inet other in');
    await netns.sh('ip link add dummy7 type bridge; nft add rule inet dead in iif dummy7 drop; ip link del dummy7');
    const outcome = await pass();
    const now = await list();
    expect(now).toContain('tcp dport 4 drop');
    expect(now).not.toContain('tcp dport 2 drop');
    const [said] = outcome.drift.filter(({ kind }) => kind === 'unreadable');
    expect(said).toMatchObject({ family: 'inet', table: 'dead', text: expect.stringMatching(/^iif \d+ drop$/) });
    expect(said?.evidence).toContain('the table is left as it is');
    expect(said?.evidence).toContain('delete the rule, or write it with iifname');
    // The table is still wanted as it was, and comes back once the rule has gone.
    await netns.sh('nft flush chain inet dead in; ip link add dummy7 type bridge');
    await pass();
    expect(await native()).toEqual(was);
  });
});

describe('a race', () => {
  const T =
    'table inet own { chain in { type filter hook input priority 0; policy accept; tcp dport 1 accept; tcp dport 2 accept; }\nchain other { tcp dport 3 accept; tcp dport 4 accept; }\n}';
  /** Runs once, right before the first `nft -f`. */
  const atCommit = (script: string): void => {
    let done = false;
    before = async ({ file, args, input }) => {
      if (done || file !== 'nft' || args[0] !== '-f' || input === undefined) return;
      done = true;
      await netns.sh(script);
    };
  };

  it('with somebody who makes the table anew: nothing of his is lost', async () => {
    await begin(T);
    await netns.sh('nft flush ruleset');
    atCommit('nft add table inet own; nft add chain inet own his; nft add rule inet own his tcp dport 99 accept');
    await pass();
    expect(await list()).toContain('tcp dport 99');
  });

  it('with somebody who adds a rule to the table: nothing of his is lost', async () => {
    await begin(T);
    await netns.sh('nft flush chain inet own in');
    atCommit('nft add rule inet own other tcp dport 99 accept');
    await pass();
    expect(await list()).toContain('tcp dport 99');
    expect(await list()).toContain('tcp dport 1 ');
  });

  it('with somebody who deletes a rule of the table: it does not come back', async () => {
    await begin(T);
    await netns.sh('nft flush chain inet own in');
    const handle = /tcp dport 3 accept # handle (\d+)/.exec(await netns.sh('nft -a list ruleset'))?.[1];
    atCommit(`nft delete rule inet own other handle ${handle}`);
    await pass();
    expect(await list()).not.toContain('tcp dport 3 ');
    expect(await list()).toContain('tcp dport 1 ');
  });
});

describe('a host that fails', () => {
  const T =
    'table inet own {\nchain in {\ntype filter hook input priority 0; policy accept; tcp dport 1 accept\n tcp dport 2 accept\n}\nchain other {\ntcp dport 3 accept\n}\n}';
  const answers = (how: (command: Command) => Partial<ExecResult> | undefined): void => {
    answer = how;
  };

  it('without nft, or with one that fails, forgets nothing', async () => {
    const context = await begin(T);
    const wanted = context.memory.wish.native.size;
    for (const exitCode of [127, 1, 124]) {
      answers(({ file }) => (file === 'nft' ? { exitCode, stdout: '', stderr: 'nft: no' } : undefined));
      const outcome = await pass();
      expect(outcome.kind).toBe('unreadable');
      expect(context.memory.wish.native.size).toBe(wanted);
    }
    answers(({ file, args }) => (file === 'nft' && args.includes('-f') ? { exitCode: 1, stderr: 'no' } : undefined));
    await netns.sh('nft flush ruleset');
    expect((await pass()).kind).toBe('failed');
    answers(() => undefined);
    expect((await pass()).kind).toBe('mended');
    expect(await list()).toContain('tcp dport 3');
  });

  it('with a full disk: what was wiped comes back, what would be lost is left', async () => {
    const context = await begin(T);
    const full: PassContext = {
      ...context,
      journal: { ...context.journal, keepText: () => Promise.reject(new HostError('write-failed', 'no space')) },
    };
    world = { ...world, context: full };
    await netns.sh('nft flush chain inet own in');
    expect((await pass()).kind).toBe('mended');
    expect(await list()).toContain('tcp dport 1');
    await netns.sh('nft add rule inet own other tcp dport 99 accept');
    const outcome = await pass({ authority: 'snapshot' });
    expect(outcome.kind).toBe('failed');
    expect(outcome.why).toContain('no space');
    expect(await list()).toContain('tcp dport 99');
  });

  it('when iptables’ rules cannot be read, the native ones are guarded and remembered all the same', async () => {
    await begin(T);
    answers(({ file }) => (file === 'iptables-save' ? { exitCode: 1, stdout: '', stderr: 'no' } : undefined));
    await netns.sh('nft add rule inet own other tcp dport 99 accept');
    await pass();
    await netns.sh('nft flush ruleset');
    await pass();
    expect(await list()).toContain('tcp dport 99');
    expect(await list()).toContain('tcp dport 1');
  });
});

describe('by hand and in other modes', () => {
  const T =
    'table inet own {\nchain in {\ntype filter hook input priority 0; policy accept; tcp dport 1 accept\n tcp dport 2 accept\n}\n}';

  it('a dry run, observe mode and a host without a snapshot write nothing', async () => {
    await begin(T);
    await netns.sh('nft flush ruleset');
    expect((await pass({ dryRun: true })).kind).toBe('would-mend');
    expect((await pass({ mode: 'observe' })).kind).toBe('would-mend');
    expect(await list()).toBe('');
    expect((await pass()).kind).toBe('mended');
  });

  it('accept takes a restored table out again, and a restored chain', async () => {
    await begin(T);
    await netns.sh('nft flush chain inet own in');
    expect((await pass()).kind).toBe('mended');
    const took = await accept(world, { pass: undefined, dryRun: false });
    expect(took.kind, JSON.stringify(took)).toBe('accept');
    expect(await list()).not.toContain('tcp dport 1');
    await netns.sh('nft flush ruleset');
    expect((await pass()).kind).toBe('mended');
    expect((await accept(world, { pass: undefined, dryRun: false })).kind).toBe('accept');
    expect(await list()).toBe('');
  });
});

describe('many', () => {
  it('tables and rules come back in one pass', async () => {
    const chain = (rules: string): string =>
      `chain in {\ntype filter hook input priority 0; policy accept\n${rules}}\n`;
    const hundred = Array.from(
      { length: 20 },
      (_, n) => `table inet t${n} {\n${chain(`tcp dport ${n + 1} accept\n`)}}\n`,
    );
    const rules = Array.from({ length: 1_000 }, (_, n) => `ip saddr 10.0.${n >> 8}.${n & 255} drop\n`).join('');
    await begin(`${hundred.join('')}table inet big {\n${chain(rules)}}\n`);
    const was = await native();
    await netns.sh('nft flush ruleset');
    const started = performance.now();
    await pass();
    report(`20 tables and 1,000 rules: ${Math.round(performance.now() - started)} ms`);
    expect(await native()).toEqual(was);
    await netns.sh('nft flush chain inet big in');
    const again = performance.now();
    await pass();
    report(`one chain of 1,000 rules: ${Math.round(performance.now() - again)} ms`);
    expect(await native()).toEqual(was);
  });

  it('tables that are deleted while they are listed are no fault', async () => {
    await begin(`table inet a {\n}\ntable inet b {\nchain c {\naccept\n}\n}\n`);
    await netns.sh('nft add table inet gone');
    let done = false;
    before = async ({ args }) => {
      if (done || !args.includes('gone')) return;
      done = true;
      await netns.sh('nft delete table inet gone');
    };
    expect((await pass()).kind).toBe('unchanged');
  });

  it('a table whose name nft cannot read back does not hide the others', async () => {
    await begin(`table inet b {\nchain c {\naccept\n}\n}\n`);
    const json =
      '{"nftables":[{"add":{"table":{"family":"inet","name":"counter"}}},{"add":{"table":{"family":"inet","name":"a b"}}}]}';
    await netns.sh(`echo '${json}' | nft -j -f -`);
    await netns.sh('nft delete table inet b');
    expect((await pass()).kind).toBe('mended');
    expect(await list()).toContain('table inet b');
  });
});
