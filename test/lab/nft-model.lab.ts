// The model of native rulesets against the real nft: what it lists is kept and understood, what is rendered loads back.
// SEED=... repeats or varies the generated rulesets; NFT_RULESETS=... makes more of them.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { renderReplacement } from '../../src/plan/nft-replace.ts';
import { elementsOf } from '../../src/ruleset/nft/elements.ts';
import { iptablesTables } from '../../src/ruleset/nft/iptables-tables.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { printNft } from '../../src/ruleset/nft/print.ts';
import { canonicalTable, sameTable, tableFingerprint } from '../../src/ruleset/nft/same.ts';
import { chainsOf, type NftRuleset, type NftTable, setsOf, tableKey } from '../../src/ruleset/nft/types.ts';
import { interfacesNeeded, unloadableIn } from '../../src/ruleset/nft/unloadable.ts';
import { nftCaptures, tableIn } from '../captures/nft.ts';
import { nftRulesets } from '../generate/nft-ruleset.ts';
import { SEED } from '../generate/seed.ts';
import { openRealKernel, type RealKernel } from './real-kernel.ts';

const COUNT = Number(process.env['NFT_RULESETS'] ?? 24);
const GENERATED = fc.sample(nftRulesets, { numRuns: COUNT, seed: SEED });

let kernel: RealKernel;
beforeEach(async () => {
  kernel = await openRealKernel();
  kernel.run('ip', ['link', 'set', 'lo', 'up'], '');
});
afterEach(() => kernel.close());

function nft(args: readonly string[], input = ''): string {
  const { exitCode, stdout, stderr } = kernel.run('nft', args, input);
  if (exitCode !== 0) throw new Error(`nft ${args.join(' ')}: ${stderr}\n${input}`);
  return stdout;
}

const load = (input: string): string => nft(['-f', '-'], input);
const list = (...options: readonly string[]): string => nft([...options, 'list', 'ruleset']);

/** What `nft -j` says of chains and rules: an independent reading of the same kernel. */
interface JsonRuleset {
  readonly nftables: readonly {
    readonly rule?: {
      readonly family: string;
      readonly table: string;
      readonly chain: string;
      readonly handle: number;
    };
    readonly set?: JsonSet;
    readonly map?: JsonSet;
    readonly chain?: { readonly family: string; readonly table: string; readonly name: string; readonly prio?: number };
  }[];
}

interface JsonSet {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly elem?: readonly unknown[];
}

function readJson(): JsonRuleset {
  return JSON.parse(list('-j')) as JsonRuleset;
}

/** `inet t forward` -> the handles of its rules, in order. */
const handlesInJson = ({ nftables }: JsonRuleset): Record<string, number[]> => {
  const found: Record<string, number[]> = {};
  for (const { chain, rule } of nftables) {
    if (chain !== undefined) found[`${chain.family} ${chain.table} ${chain.name}`] = [];
    if (rule !== undefined) found[`${rule.family} ${rule.table} ${rule.chain}`]?.push(rule.handle);
  }
  return found;
};

const handlesInText = (ruleset: NftRuleset): Record<string, (number | undefined)[]> =>
  Object.fromEntries(
    ruleset.tables.flatMap((table) =>
      chainsOf(table).map((chain) => [`${tableKey(table)} ${chain.name}`, chain.rules.map((rule) => rule.handle)]),
    ),
  );

const elementCounts = (sets: readonly (readonly [string, number])[]): Record<string, number> =>
  Object.fromEntries(sets);

const canonical = (ruleset: NftRuleset): string[] =>
  ruleset.tables.map((table) => canonicalTable(table, { dynamicElements: true }));

describe.each(GENERATED.map((text, index) => ({ index, text })))('generated ruleset $index', ({ text }) => {
  beforeEach(() => void load(text));

  test('its listings come back byte for byte, with and without handles', () => {
    for (const options of [[], ['-a'], ['-s'], ['-nn'], ['-y']]) {
      const listing = list(...options);
      const parsed = parseNft(listing);
      expect(parsed.problems).toEqual([]);
      expect(printNft(parsed)).toBe(listing);
    }
  });

  test('the view has the rules, chains, priorities and elements that nft -j counts', () => {
    // nft 1.0.6 -j stops in the middle of the document at the flags of a dormant table, with exit 0.
    load(`flush ruleset\n${text.replaceAll('\tflags dormant\n', '')}`);
    const json = readJson();
    const parsed = parseNft(list('-a'));
    expect(handlesInText(parsed)).toEqual(handlesInJson(json));
    const inText = parsed.tables.flatMap((table) =>
      setsOf(table).map((set) => [`${tableKey(table)} ${set.name}`, elementsOf(set.elementsText).length] as const),
    );
    const inJson = json.nftables.flatMap(({ set, map }) =>
      [set, map].flatMap((each) =>
        each === undefined ? [] : [[`${each.family} ${each.table} ${each.name}`, each.elem?.length ?? 0] as const],
      ),
    );
    expect(elementCounts(inText)).toEqual(elementCounts(inJson));
    const priorities = parsed.tables.flatMap((table) => chainsOf(table).map(({ base }) => base?.priority.number));
    expect(priorities).toEqual(json.nftables.flatMap(({ chain }) => (chain === undefined ? [] : [chain.prio])));
  });

  test('handles and state do not count: the listings with and without them are the same', () => {
    const plain = parseNft(list());
    expect(canonical(parseNft(list('-a')))).toEqual(canonical(plain));
    expect(canonical(parseNft(list('-s')))).toEqual(canonical(plain));
  });

  test('a replacement brings back what was changed or deleted, and touches no other table', () => {
    const wanted = parseNft(list());
    const handles = tableHandles();
    expect(wanted.tables.flatMap(unloadableIn)).toEqual([]);
    expect(renderReplacement(wanted.tables, parseNft(list()).tables)).toMatchObject({ input: '', replaced: [] });
    const [first, ...others] = wanted.tables;
    const key = tableKey(first!);
    const chain = chainsOf(first!).find((each) => each.rules.length > 0);
    load(chain === undefined ? `delete table ${key}\n` : `flush chain ${key} ${chain.name}\n`);

    const { input, replaced, refused } = renderReplacement(wanted.tables, parseNft(list()).tables);
    expect({ replaced, refused }).toEqual({ replaced: [key], refused: [] });
    load(input);
    expect(canonicalByKey(parseNft(list()))).toEqual(canonicalByKey(wanted));
    const after = tableHandles();
    for (const table of others) expect(after[tableKey(table)]).toBe(handles[tableKey(table)]);
    expect(after[key]).not.toBe(handles[key]);
  });
});

const tableHandles = (): Record<string, number | undefined> =>
  Object.fromEntries(parseNft(list('-a')).tables.map((table) => [tableKey(table), table.handle]));

/** A table made anew stands last in the listing. */
const canonicalByKey = (ruleset: NftRuleset): Record<string, string> =>
  Object.fromEntries(
    ruleset.tables.map((table) => [tableKey(table), canonicalTable(table, { dynamicElements: true })]),
  );

/** Tables of the captures that nft 1.0.6 can load, by the text alone. */
const LOADABLE: readonly { readonly name: string; readonly key: string; readonly table: NftTable }[] = nftCaptures()
  // 1.1.3 spells some rules differently, and -nn all of them.
  .filter(({ name }) => !/1\.1\.3|numeric/.test(name)) // native/everything.nft-1.1.3.txt
  .flatMap(({ name, text }) => {
    const ruleset = parseNft(text);
    const iptables = iptablesTables(ruleset);
    return ruleset.tables
      .filter((table) => !iptables.has(tableKey(table)) && unloadableIn(table).length === 0)
      .map((table) => ({ name, key: tableKey(table), table }));
  });

describe('captures', () => {
  test('hold tables that can be loaded', () => expect(LOADABLE.length).toBeGreaterThan(30));

  test.each(LOADABLE)('$key of $name lists the same after it was loaded', ({ key, table }) => {
    for (const name of interfacesNeeded(table)) kernel.run('ip', ['link', 'add', name, 'type', 'bridge'], '');
    const { input, refused } = renderReplacement([table], []);
    expect(refused).toEqual([]);
    load(input);
    const again = tableIn(list(), key);
    expect(canonicalTable(again, { dynamicElements: true })).toBe(canonicalTable(table, { dynamicElements: true }));
    expect(tableFingerprint(again)).toBe(tableFingerprint(table));
    // And over what stands under its name.
    load(renderReplacement([table], parseNft(`table ${key} {\n}\n`).tables).input);
    expect(sameTable(tableIn(list(), key), table)).toBe(true);
  });
});

describe('elements with a timeout', () => {
  const SET = 'table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { ELEMENTS }\n\t}\n}\n';
  const remaining = (): Record<string, string | undefined> => {
    const [set] = setsOf(tableIn(list(), 'inet t'));
    return Object.fromEntries(elementsOf(set!.elementsText).map(({ key, expires }) => [key, expires]));
  };
  const replace = (elements: string, ageMs: number): void => {
    const wanted = parseNft(SET.replace('ELEMENTS', elements)).tables;
    const standing = list() === '' ? [] : parseNft('table inet t {\n}\n').tables;
    load(renderReplacement(wanted, standing, { ageMs }).input);
  };

  test('live on for the time they had left, less the age of the listing', () => {
    replace('1.1.1.1 timeout 30m expires 10m20s500ms comment "a, b", 2.2.2.2 timeout 1h expires 5m, 3.3.3.3', 60_000);
    expect(remaining()).toEqual({
      '1.1.1.1': expect.stringMatching(/^9m(?:20s|19s)/),
      '2.2.2.2': expect.stringMatching(/^(?:4m|3m59s)/),
      '3.3.3.3': undefined,
    });
  });

  test('are left out when their time is over; nft would take `expires 0s` for a whole timeout', () => {
    replace('1.1.1.1 timeout 30m expires 0s, 2.2.2.2 timeout 1h expires 5m', 0);
    expect(Object.keys(remaining())).toEqual(['2.2.2.2']);
    replace('1.1.1.1 timeout 30m expires 4m', 300_000);
    expect(remaining()).toEqual({});
    load(SET.replace('ELEMENTS', '1.1.1.1 timeout 30m expires 0s'));
    expect(remaining()['1.1.1.1']).toMatch(/^(?:29m59s|30m)/);
  });
});

describe('what cannot be loaded back', () => {
  test('rules of iptables-nft are refused before nft refuses them', () => {
    kernel.run('iptables', ['-A', 'FORWARD', '-m', 'physdev', '--physdev-in', 'vif1', '-j', 'ACCEPT'], '');
    kernel.run('iptables', ['-A', 'INPUT', '-m', 'comment', '--comment', 'mine', '-j', 'ACCEPT'], '');
    kernel.run('iptables', ['-A', 'INPUT', '-j', 'LOG', '--log-prefix', 'a"b {'], '');
    const { stdout, stderr } = kernel.run('nft', ['list', 'ruleset'], '');
    const ruleset = parseNft(stdout);
    expect(printNft(ruleset)).toBe(stdout);
    expect(ruleset.problems).toEqual([]);
    const filter = ruleset.tables[0]!;
    expect(
      unloadableIn(filter)
        .map(({ reason }) => reason)
        .sort(),
    ).toEqual(['hidden-xt', 'quote', 'xt']);
    expect(iptablesTables(ruleset, stderr).get('ip filter')).toBe('warning');
    expect(renderReplacement([filter], [])).toMatchObject({
      input: '',
      refused: [{ kind: 'iptables', evidence: 'xt' }],
    });
    expect(kernel.run('nft', ['-c', '-f', '-'], stdout).exitCode).not.toBe(0);
  });

  test('an interface that is gone', () => {
    kernel.run('ip', ['link', 'add', 'br7', 'type', 'bridge'], '');
    load(
      'table ip t {\n\tchain c {\n\t\tiif "br7" accept\n\t\toif { "lo", "br7" } drop\n\t\tiif "lo" accept\n\t}\n}\n',
    );
    expect(interfacesNeeded(tableIn(list(), 'ip t'))).toEqual(['br7', 'lo']);
    expect(unloadableIn(tableIn(list(), 'ip t'))).toEqual([]);
    kernel.run('ip', ['link', 'delete', 'br7'], '');
    const found = unloadableIn(tableIn(list(), 'ip t'));
    expect(found.map(({ reason, line }) => [reason, line])).toEqual([
      ['dead-interface', 3],
      ['dead-interface', 4],
    ]);
  });
});
