// Whose voice is it, for native tables: each row of the design's table.

import { describe, expect, it } from 'vitest';
import { decideNative, type NativeSituation, needsBootFiles } from '../../src/merge/decide-native.ts';
import type { RuleForms } from '../../src/merge/native-boot.ts';
import { type NativeSummary, NO_NATIVE_CHANGE } from '../../src/merge/native-summary.ts';
import { nativePart, rulesOf } from '../../src/ruleset/nft/native-part.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';
import { tableKey } from '../../src/ruleset/nft/types.ts';

const chain = (name: string, rules: readonly string[], hook = name): string =>
  `\tchain ${name} {\n\t\ttype filter hook ${hook} priority filter; policy accept;\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n`;
const table = (key: string, ...chains: readonly string[]): string => `table ${key} {\n${chains.join('\n')}}\n`;
const RULES = ['tcp dport 22 accept', 'ip saddr 10.0.0.0/8 accept', 'drop'];
const FILTER = table('inet filter', chain('input', RULES), chain('forward', ['drop']));
const NAT = table('ip mynat', chain('pre', ['tcp dport 80 accept'], 'prerouting'));

function decide(wish: string, live: string, more: Partial<NativeSituation> = {}): Record<string, string> {
  const decisions = decideNative({
    wish: nativePart(parseNft(wish).tables),
    live: nativePart(parseNft(live).tables),
    summaries: undefined,
    burstOver: true,
    onDelete: 'pending',
    onLoad: 'adopt',
    byHand: false,
    ...more,
  });
  const side = (next: string): string =>
    wish.includes(next) ? (live.includes(next) ? 'both' : 'wish') : live.includes(next) ? 'live' : 'other';
  return Object.fromEntries(
    decisions.map(({ key, kind, next }) => [key, `${kind} ${next === undefined ? 'none' : side(printNftTable(next))}`]),
  );
}

const heard = (summaries: Readonly<Record<string, Partial<NativeSummary>>>): Pick<NativeSituation, 'summaries'> => ({
  summaries: new Map(Object.entries(summaries).map(([key, said]) => [key, { ...NO_NATIVE_CHANGE, ...said }])),
});

describe('the user’s native tables', () => {
  it('are kept where nothing differs but counters and handles', () => {
    const live = FILTER.replace('accept\n', 'counter packets 3 bytes 4 accept # handle 9\n');
    const wish = FILTER.replace('accept\n', 'counter packets 0 bytes 0 accept\n');
    expect(decide(wish, live)).toEqual({ 'inet filter': 'kept wish' });
  });

  it('come back after `nft flush ruleset`, heard or not', () => {
    const gone = { wiped: true, byOther: true };
    expect(decide(FILTER + NAT, '', heard({ 'inet filter': gone, 'ip mynat': gone }))).toEqual({
      'inet filter': 'wipe wish',
      'ip mynat': 'wipe wish',
    });
    expect(decide(FILTER, '')).toEqual({ 'inet filter': 'wipe wish' });
  });

  it('stay deleted where a person deleted one by its name, unless on_delete is restore', () => {
    const named = heard({ 'ip mynat': { wiped: true, named: true, byOther: true } });
    expect(decide(FILTER + NAT, FILTER, named)).toMatchObject({ 'ip mynat': 'pending none' });
    expect(decide(FILTER + NAT, FILTER, { ...named, onDelete: 'restore' })).toMatchObject({ 'ip mynat': 'wipe wish' });
    const neighbours = heard({ 'ip mynat': { wiped: true, named: true, byNeighbour: 'docker' } });
    expect(decide(FILTER + NAT, FILTER, neighbours)).toMatchObject({ 'ip mynat': 'wipe wish' });
  });

  it('stay deleted where an `nft -f` took one and left another, but not after a flush of one family', () => {
    const file = heard({ 'ip mynat': { wiped: true, byOther: true } });
    expect(decide(FILTER + NAT, FILTER, file)).toMatchObject({ 'ip mynat': 'pending none' });
    const flushed = heard({ 'ip mynat': { wiped: true, byOther: true, flushed: true } });
    expect(decide(FILTER + NAT, FILTER, flushed)).toMatchObject({ 'ip mynat': 'wipe wish' });
    const unread = heard({ 'ip mynat': { wiped: true } });
    expect(decide(FILTER + NAT, FILTER, unread)).toMatchObject({ 'ip mynat': 'wipe wish' });
  });

  it('get an emptied chain back, and keep what else was changed', () => {
    const live = table('inet filter', chain('input', []), chain('forward', ['accept']));
    const [decision] = decideNative({
      wish: nativePart(parseNft(FILTER).tables),
      live: nativePart(parseNft(live).tables),
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      byHand: false,
      ...heard({ 'inet filter': { wiped: true } }),
    });
    expect(decision).toMatchObject({ kind: 'wipe', evidence: ['chain=input'] });
    expect(printNftTable(decision!.next!)).toBe(
      table('inet filter', chain('input', RULES), chain('forward', ['accept'])),
    );
  });

  it('may lose their only rule to a person', () => {
    const live = table('inet filter', chain('input', RULES), chain('forward', []));
    expect(decide(FILTER, live, heard({ 'inet filter': { byOther: true } }))).toEqual({
      'inet filter': 'pending live',
    });
  });

  it('that a person changes, or adds, are pending', () => {
    const live = FILTER.replace('drop\n', 'udp dport 53 accept\n\t\tdrop\n');
    expect(decide(FILTER, live + NAT, heard({ 'inet filter': { byOther: true }, 'ip mynat': {} }))).toEqual({
      'inet filter': 'pending live',
      'ip mynat': 'pending live',
    });
  });

  it('are restored where a neighbour took rules out', () => {
    const live = FILTER.replace('\t\ttcp dport 22 accept\n', '');
    expect(decide(FILTER, live, heard({ 'inet filter': { byNeighbour: 'docker' } }))).toEqual({
      'inet filter': 'damage wish',
    });
  });

  it('keep what a person added while a neighbour took rules out, or with on_delete restore', () => {
    const live = FILTER.replace('tcp dport 22 accept\n', 'udp dport 53 accept\n');
    const mixed = FILTER.replace('tcp dport 22 accept\n', 'tcp dport 22 accept\n\t\tudp dport 53 accept\n');
    const ways = [heard({ 'inet filter': { byNeighbour: 'docker' } }), { onDelete: 'restore' as const }];
    for (const way of ways) {
      const [decision] = decideNative({
        wish: nativePart(parseNft(FILTER).tables),
        live: nativePart(parseNft(live + '').tables),
        summaries: undefined,
        burstOver: true,
        onDelete: 'pending',
        onLoad: 'adopt',
        byHand: false,
        ...way,
      });
      expect(decision?.kind).toBe('damage');
      expect(printNftTable(decision!.next!)).toBe(mixed);
    }
  });

  it('get a base chain back at its place', () => {
    const [input, output, rest] = [chain('input', RULES), chain('output', RULES), chain('forward', ['drop'])];
    const wish = table('inet filter', input, output, rest);
    const [decision] = decideNative({
      wish: nativePart(parseNft(wish).tables),
      live: nativePart(parseNft(table('inet filter', input, rest)).tables),
      summaries: undefined,
      burstOver: true,
      onDelete: 'pending',
      onLoad: 'adopt',
      byHand: false,
    });
    expect(decision?.next?.objects.map(({ head }) => head.trim())).toEqual([
      'chain input {',
      'chain output {',
      'chain forward {',
    ]);
  });

  it('get no chain back into a ruleset with other rules that came while nobody listened', () => {
    const live = table('inet filter', chain('INPUT', ['udp dport 53 accept'], 'input'), chain('forward', ['drop']));
    expect(decide(FILTER, live)).toEqual({ 'inet filter': 'pending live' });
    expect(decide(FILTER, table('inet filter', chain('forward', ['drop'])))).toEqual({ 'inet filter': 'wipe other' });
  });

  it('are not decided within a burst', () => {
    expect(decide(FILTER + NAT, FILTER, { ...heard({}), burstOver: false })).toEqual({
      'inet filter': 'kept both',
      'ip mynat': 'wait wish',
    });
  });
});

describe('a load', () => {
  const live = table('inet filter', chain('input', [...RULES.slice(0, 2), 'udp dport 53 accept', 'drop']));
  const replaced = { replaced: true, byOther: true };
  const leftOut = { wiped: true, leftOut: true, byOther: true };

  it('with at least half of the rules is adopted, with the tables it left out', () => {
    expect(decide(FILTER + NAT, live, heard({ 'inet filter': replaced, 'ip mynat': leftOut }))).toEqual({
      'inet filter': 'load live',
      'ip mynat': 'load none',
    });
  });

  it('adopts the tables that it brings new', () => {
    const summaries = heard({ 'inet filter': replaced, 'ip mynat': { madeByLoad: true } });
    expect(decide(FILTER, live + NAT, summaries)).toEqual({ 'inet filter': 'load live', 'ip mynat': 'load live' });
    const script = { wiped: true, addedAfterWipe: true, byOther: true };
    expect(decide(FILTER, live + NAT, heard({ 'inet filter': script, 'ip mynat': {} }))).toEqual({
      'inet filter': 'load live',
      'ip mynat': 'load live',
    });
    const dockers = heard({ 'inet filter': replaced, 'ip mynat': { neighbour: 'docker' } });
    expect(decide(FILTER, live + NAT, dockers)).toEqual({ 'inet filter': 'load live', 'ip mynat': 'pending live' });
  });

  it('of nothing but new tables is `replaced`, and adopted when a known loader made it', () => {
    const said = { 'inet filter': leftOut, 'ip mynat': { madeByLoad: true } };
    expect(decide(FILTER, NAT, heard(said))).toEqual({ 'inet filter': 'replaced none', 'ip mynat': 'replaced live' });
    const byFile = heard({ ...said, 'inet filter': { ...leftOut, loader: '/etc/nftables.conf' } });
    expect(decide(FILTER, NAT, byFile)).toEqual({ 'inet filter': 'load none', 'ip mynat': 'load live' });
  });

  it('is none where a program only makes its own table after a flush, or a person deletes one by name and makes another', () => {
    expect(decide(FILTER, NAT, heard({ 'inet filter': leftOut, 'ip mynat': {} }))).toEqual({
      'inet filter': 'wipe wish',
      'ip mynat': 'pending live',
    });
    const byName = heard({ 'inet filter': { ...leftOut, named: true }, 'ip mynat': {} });
    expect(decide(FILTER, NAT, byName)).toEqual({ 'inet filter': 'pending none', 'ip mynat': 'pending live' });
  });

  it('in pieces, by a script, is the same', () => {
    const script = { wiped: true, addedAfterWipe: true, byOther: true };
    expect(decide(FILTER, live, heard({ 'inet filter': script }))).toEqual({ 'inet filter': 'load live' });
  });

  it('of other rules is `replaced`, and adopted when a known loader made it', () => {
    const other = table('inet filter', chain('input', ['udp dport 53 accept']));
    expect(decide(FILTER, other, heard({ 'inet filter': replaced }))).toEqual({ 'inet filter': 'replaced live' });
    const byUnit = heard({ 'inet filter': { ...replaced, loader: 'nftables.service' } });
    expect(decide(FILTER, other, byUnit)).toEqual({ 'inet filter': 'load live' });
  });

  it('without a rule is a wipe, and so is one by a neighbour, or with on_load restore', () => {
    const empty = table('inet filter', chain('input', []));
    expect(decide(FILTER, empty, heard({ 'inet filter': { ...replaced, wiped: true } }))).toEqual({
      'inet filter': 'wipe other',
    });
    expect(decide(FILTER, live, heard({ 'inet filter': { replaced: true, byNeighbour: 'firewalld' } }))).toEqual({
      'inet filter': 'wipe wish',
    });
    expect(decide(FILTER, live, { ...heard({ 'inet filter': replaced }), onLoad: 'restore' })).toEqual({
      'inet filter': 'wipe wish',
    });
  });
});

describe('by hand', () => {
  it('the wish stands for all: what is not in it goes', () => {
    expect(decide(FILTER, NAT, { byHand: true })).toEqual({ 'inet filter': 'wipe wish', 'ip mynat': 'wipe none' });
  });
});

describe('a load that is known by its result', () => {
  const OTHER = table('inet filter', chain('input', ['tcp dport 2222 accept', 'udp dport 7 drop']));
  const forms = (text: string): RuleForms =>
    new Map(
      parseNft(text)
        .tables.filter((each) => rulesOf(each).length > 0)
        .map((each) => [tableKey(each), JSON.stringify(rulesOf(each))]),
    );
  /** `stands`: what is live. */
  const boot = (text: string, stands: string, flushes = true): Pick<NativeSituation, 'boot'> => ({
    boot: { files: [{ file: '/etc/nftables.conf', rules: forms(text), flushes }], live: forms(stands) },
  });
  const loaded = heard({ 'inet filter': { replaced: true, byOther: true } });

  it('is adopted where what replaced the tables is a boot file, and no other', () => {
    expect(decide(FILTER, OTHER, loaded)).toEqual({ 'inet filter': 'replaced live' });
    expect(decide(FILTER, OTHER, { ...loaded, ...boot(OTHER, OTHER) })).toEqual({ 'inet filter': 'load live' });
    expect(decide(FILTER, OTHER, { ...loaded, ...boot(OTHER + NAT, OTHER) })).toEqual({
      'inet filter': 'replaced live',
    });
    expect(decide(FILTER, OTHER, { ...loaded, ...boot('', OTHER) })).toEqual({ 'inet filter': 'replaced live' });
    const more = OTHER.replace('drop', 'accept');
    expect(decide(FILTER, more, { ...loaded, ...boot(OTHER, more) })).toEqual({ 'inet filter': 'replaced live' });
  });

  it('takes along what the file left out, but not a table that somebody else replaced', () => {
    const left = { wiped: true, leftOut: true, byOther: true };
    const both = heard({ 'inet filter': { replaced: true, byOther: true }, 'ip mynat': left });
    expect(decide(FILTER + NAT, OTHER, { ...both, ...boot(OTHER, OTHER) })).toEqual({
      'inet filter': 'load live',
      'ip mynat': 'load none',
    });
    const stands = heard({ 'inet filter': { replaced: true }, 'ip mynat': { replaced: true } });
    const nat = NAT.replace('80', '81');
    expect(decide(FILTER + NAT, OTHER + nat, { ...stands, ...boot(OTHER, OTHER + nat) })).toEqual({
      'inet filter': 'replaced live',
      'ip mynat': 'replaced live',
    });
  });

  it('is wanted in the order in which it stands', () => {
    const loads = heard({ 'inet filter': { replaced: true, loader: 'ferm' }, 'ip mynat': { replaced: true } });
    expect(Object.keys(decide(FILTER + NAT, NAT + OTHER, loads))).toEqual(['ip mynat', 'inet filter']);
    expect(Object.keys(decide(FILTER + NAT, NAT))).toEqual(['inet filter', 'ip mynat']);
  });

  it('is adopted where nobody was heard', () => {
    expect(decide(FILTER, OTHER)).toEqual({ 'inet filter': 'pending live' });
    expect(decide(FILTER, OTHER, boot(OTHER, OTHER))).toEqual({ 'inet filter': 'load live' });
    expect(decide(FILTER, OTHER, { ...boot(OTHER, OTHER), onLoad: 'restore' })).toEqual({ 'inet filter': 'wipe wish' });
    expect(decide(FILTER, OTHER, { ...boot(OTHER, OTHER), burstOver: false })).toEqual({ 'inet filter': 'wait wish' });
    expect(decide(FILTER, OTHER, { ...boot(OTHER, OTHER), byHand: true })).toEqual({ 'inet filter': 'wipe wish' });
  });

  it('takes a table along, unheard, only where the file flushes all; none where it brought nothing', () => {
    expect(decide(FILTER + NAT, OTHER, boot(OTHER, OTHER))).toMatchObject({ 'ip mynat': 'load none' });
    expect(decide(FILTER + NAT, OTHER, boot(OTHER, OTHER, false))).toMatchObject({ 'ip mynat': 'wipe wish' });
    expect(decide(FILTER + NAT, FILTER, boot(FILTER, FILTER))).toMatchObject({ 'ip mynat': 'wipe wish' });
    expect(decide(FILTER, OTHER + NAT, boot(OTHER, OTHER + NAT))).toEqual({
      'inet filter': 'load live',
      'ip mynat': 'pending live',
    });
  });

  it('is looked for only where it may be one', () => {
    const asks = (wish: string, live: string, more: Partial<NativeSituation>): boolean => {
      const situation = {
        wish: nativePart(parseNft(wish).tables),
        live: nativePart(parseNft(live).tables),
        summaries: undefined,
        burstOver: true,
        onDelete: 'pending',
        onLoad: 'adopt',
        byHand: false,
        ...more,
      } as const;
      return needsBootFiles(situation, decideNative(situation));
    };
    expect(asks(FILTER, OTHER, loaded)).toBe(true);
    expect(asks(FILTER, FILTER.replace('22', '23'), heard({ 'inet filter': {} }))).toBe(false);
    expect(asks(FILTER, OTHER, {})).toBe(true);
    expect(asks(FILTER, FILTER, {})).toBe(false);
    expect(asks(FILTER, '', {})).toBe(false);
    expect(asks(FILTER, OTHER, { burstOver: false })).toBe(false);
    expect(asks(FILTER, OTHER, { byHand: true })).toBe(false);
  });
});
