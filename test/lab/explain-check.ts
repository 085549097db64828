// One random ruleset in the router, packets through it, and whether the rules counted what the evaluator foretold.

import { HOST, PROBE_TABLE, type From, type PacketWorld } from './packet-world.ts';
import type { Explanation } from '../../src/explain/explanation.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { explain, type Journey } from '../../src/explain/path.ts';
import { joinPrograms, type Place, type Program } from '../../src/explain/program.ts';
import { CT_STATES } from '../../src/explain/protocols.ts';
import { addressText } from '../../src/explain/values.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { FAMILIES, TABLES, type Family } from '../../src/ruleset/types.ts';
import type { ExplainWorld } from '../generate/explain.ts';

/** One packet on its way, with what is foretold of it. */
export interface Shot {
  readonly from: From;
  readonly journey: Journey;
  readonly packet: PacketSpec;
  readonly id: number;
  readonly foretold: Explanation;
  /** Of an answer: what it answers. */
  readonly question?: Shot;
}

export interface Difference {
  readonly rule: string;
  readonly counted: number;
  readonly least: number;
  readonly most: number;
}

const command = (family: Family, engine: string, what: string): string =>
  `${family === 'ip' ? 'iptables' : 'ip6tables'}-${engine}-${what}`;

function run({ router }: PacketWorld, file: string, args: readonly string[], input = ''): string {
  const { exitCode, stdout, stderr } = router.run(file, args, input);
  if (exitCode !== 0) throw new Error(`exit ${exitCode}: ${file} ${args.join(' ')}\n${stderr}\n${input}`);
  return stdout;
}

const EMPTY: Readonly<Record<string, string>> = {
  raw: ':PREROUTING ACCEPT\n:OUTPUT ACCEPT',
  mangle: ':PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT',
  nat: ':PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT',
  filter: ':INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT',
};
const EMPTY_TEXT = Object.entries(EMPTY)
  .map(([table, chains]) => `*${table}\n${chains}\nCOMMIT\n`)
  .join('');

/** Loads a world's rules and reads them back as the evaluator gets them. */
export function loadWorld(world: PacketWorld, { iptables, engine, native }: ExplainWorld): Program {
  run(world, 'nft', ['flush', 'ruleset']);
  for (const family of FAMILIES) run(world, command(family, 'legacy', 'restore'), [], EMPTY_TEXT);
  for (const family of FAMILIES) run(world, command(family, engine, 'restore'), [], iptables[family]);
  run(world, 'nft', ['-f', '-'], PROBE_TABLE + native);
  const localAddresses = HOST.addresses.map(({ address }) => address);
  const programs = FAMILIES.map((family) =>
    compileIptables(parseRuleset(run(world, command(family, engine, 'save'), []), family), { localAddresses }),
  );
  const without = new Set(['inet probe', ...FAMILIES.flatMap((family) => TABLES.map((table) => `${family} ${table}`))]);
  return joinPrograms([...programs, compileNft(run(world, 'nft', ['list', 'ruleset']), { without, localAddresses })]);
}

type Counts = ReadonlyMap<string, number>;

/** `ip filter INPUT 3` */
const keyOf = ({ family, table, chain, index }: Place): string => `${family} ${table} ${chain} ${index}`;

interface NftRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly expr: readonly { readonly counter?: { readonly packets: number } | null }[];
}

/** Packets each rule counted. A rule without counter has no entry. */
function readCounts(world: PacketWorld, engine: string): Counts {
  const counts = new Map<string, number>();
  const seen = new Map<string, number>();
  const place = (chain: string): number => {
    const index = seen.get(chain) ?? 0;
    seen.set(chain, index + 1);
    return index;
  };
  const listing = JSON.parse(run(world, 'nft', ['-j', 'list', 'ruleset'])) as { nftables: { rule?: NftRule }[] };
  for (const { rule } of listing.nftables) {
    if (rule === undefined) continue;
    const chain = `${rule.family} ${rule.table} ${rule.chain}`;
    const counter = rule.expr.find((each) => each.counter !== undefined && each.counter !== null)?.counter;
    const index = place(chain);
    if (counter !== undefined && counter !== null) counts.set(`${chain} ${index}`, counter.packets);
  }
  if (engine === 'legacy') for (const family of FAMILIES) readLegacy(world, family, place, counts);
  return counts;
}

function readLegacy(
  world: PacketWorld,
  family: Family,
  place: (chain: string) => number,
  counts: Map<string, number>,
): void {
  const { tables } = parseRuleset(run(world, command(family, 'legacy', 'save'), ['-c']), family);
  for (const table of tables.values())
    for (const chain of table.chains.values())
      for (const { counters = '' } of chain.rules) {
        const name = `${family} ${table.name} ${chain.name}`;
        counts.set(`${name} ${place(name)}`, Number(counters.split(':')[0]));
      }
}

let nextId = 0;

/** Every shot is a flow of its own. */
export function aim(program: Program, from: From, journey: Journey, packet: PacketSpec): Shot {
  const id = nextId++;
  const sport = 30_000 + (id % 10_000);
  const own = packet.protocol === 'tcp' || packet.protocol === 'udp' ? { sport, ...packet } : packet;
  return { from, journey, packet: own, id, foretold: explain(program, { packet: own, journey }, HOST) };
}

/** The receiver's answer to a packet that surely came through, as conntrack will see it; undefined where it cannot be told. */
export function answerTo(program: Program, question: Shot): Shot | undefined {
  const { packet, journey, foretold, id } = question;
  const last = foretold.endings.at(-1);
  if (foretold.verdict !== 'accept' || journey !== 'forward' || last === undefined || last.hook === 'input')
    return undefined;
  const { saddr, daddr, dport, ctState, oif } = last.packet;
  if (saddr === undefined || daddr === undefined || ctState !== CT_STATES['new'] || oif !== 'out0') return undefined;
  if (packet.protocol === 'tcp' && !(packet.tcpFlags?.length === 1 && packet.tcpFlags[0] === 'syn')) return undefined;
  // A port out of a range is nobody's guess.
  if (foretold.endings.some(({ translated, place }) => translated && /to-ports|to :/.test(place.text ?? '')))
    return undefined; // masquerade to :1024-65535
  const { family } = packet;
  const reply: PacketSpec = {
    ...packet,
    iif: 'out0',
    oif: 'in0',
    src: addressText(family, daddr),
    dst: addressText(family, saddr),
    ...(packet.sport !== undefined && dport !== undefined && { sport: dport, dport: packet.sport }),
    ...(packet.protocol === 'tcp' && { tcpFlags: ['syn', 'ack'] }),
    ...(packet.icmpType !== undefined && { icmpType: family === 'ip' ? '0' : '129' }),
    ctState: 'established',
    rewrite: {
      ...(packet.src !== undefined && { dst: packet.src }),
      ...(packet.dst !== undefined && { src: packet.dst }),
      ...(packet.dport !== undefined && { sport: packet.dport }),
    },
  };
  const answered = explain(program, { packet: reply, journey: 'forward' }, HOST);
  return { from: 'receiver', journey: 'forward', packet: reply, id, foretold: answered, question };
}

/** What the counters may have risen by after these shots. */
function bounds(shots: readonly Shot[]): Map<string, { least: number; most: number }> {
  const found = new Map<string, { least: number; most: number }>();
  const add = (key: string, certain: boolean): void => {
    const bound = found.get(key) ?? { least: 0, most: 0 };
    found.set(key, { least: bound.least + Number(certain), most: bound.most + 1 });
  };
  for (const { foretold } of shots) {
    // A chain may be walked from several jumps: each walk counts.
    for (const { place, certain } of foretold.trace) add(keyOf(place), certain);
    const stays = foretold.endings.filter(({ kind }) => kind !== 'accept');
    const arrives = foretold.verdict === 'accept';
    if (arrives || foretold.verdict === 'depends') add('arrived at all', arrives && stays.length === 0);
  }
  return found;
}

const ARRIVED = ['inet probe local 0', 'inet probe left 0'];

/** Sends the shots and compares. `waitFor` the router to have taken all of them in. */
export async function shoot(
  world: PacketWorld,
  engine: string,
  shots: readonly Shot[],
): Promise<readonly Difference[]> {
  const before = readCounts(world, engine);
  for (const { from, packet, id } of shots) await world.send(from, packet, id);
  const after = await settled(world, engine, before, shots.length);
  const rose = (key: string): number => (after.get(key) ?? 0) - (before.get(key) ?? 0);
  const expected = bounds(shots);
  const differences: Difference[] = [];
  const compare = (rule: string, counted: number): void => {
    const { least, most } = expected.get(rule) ?? { least: 0, most: 0 };
    if (counted < least || counted > most) differences.push({ rule, counted, least, most });
  };
  for (const key of after.keys()) if (!key.startsWith('inet probe')) compare(key, rose(key));
  compare(
    'arrived at all',
    ARRIVED.reduce((sum, key) => sum + rose(key), 0),
  );
  return differences;
}

async function settled(world: PacketWorld, engine: string, before: Counts, sent: number): Promise<Counts> {
  const entries = ['inet probe arrived 0', 'inet probe own 0'];
  for (let tries = 0; ; tries++) {
    const after = readCounts(world, engine);
    const came = entries.reduce((sum, key) => sum + (after.get(key) ?? 0) - (before.get(key) ?? 0), 0);
    if (came >= sent) return after;
    if (tries === 20) throw new Error(`only ${came} of ${sent} packets came to the router`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
