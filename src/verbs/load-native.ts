// The native half of rule files: what nft makes of them in a throw-away network namespace, as it lists it there.
// Guarantee: touches no live table. The files are one text, in their order, as `nft -f` would read them: a `define` holds for
// those after it. Does not: keep comments and defines in the result (a listing has none).

import { loadNftInNamespace, type NftComplaint, type NftLoaded } from '../apply/nft-namespace.ts';
import { classifyNative, userNativeOf } from '../classify/classify-native.ts';
import type { Host } from '../host/host.ts';
import { hasNativeBase, isIptablesName, splitTable } from '../ruleset/nft/iptables-part.ts';
import { IPTABLES_KEYS } from '../ruleset/nft/iptables-tables.ts';
import { EMPTY_NATIVE, type NativePart, rulesOf } from '../ruleset/nft/native-part.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { USER } from '../ruleset/user-part.ts';
import {
  type Device,
  devicesNamed,
  flushes,
  joined,
  type JoinedText,
  linesByText,
  placeOfTable,
} from '../rules/native-text.ts';
import { finding, type Finding, type LeftOutRule, type PlacedRule, type RuleSource } from '../rules/types.ts';

export interface NativeHalf {
  readonly part: NativePart;
  readonly placed: readonly PlacedRule[];
  readonly leftOut: readonly LeftOutRule[];
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly judged: boolean;
}

const EMPTY: NativeHalf = { part: EMPTY_NATIVE, placed: [], leftOut: [], problems: [], warnings: [], judged: true };

export async function loadNative(
  host: Host,
  sources: readonly RuleSource[],
  interfaces: readonly string[],
): Promise<NativeHalf> {
  const own = sources.filter(({ kind }) => kind === 'native');
  const [first] = own;
  if (first === undefined) return EMPTY;
  const text = joined(own);
  const { loaded, devices } = await loadWithDevices(host, text, devicesNamed(text.text, interfaces));
  const missing = devices
    .filter(({ name }) => !interfaces.includes(name))
    .map(({ name, line }) => {
      const said = `there is no interface ${name} here now; nft refuses the table without it`;
      return finding('missing-interface', text.place(line, name), said);
    });
  const warnings = [...flushes(own), ...missing];
  switch (loaded.kind) {
    case 'unavailable': {
      const place = { file: first.file, line: 0, column: 0 };
      return {
        ...EMPTY,
        warnings: [...warnings, finding('not-checked', place, `not looked at: ${loaded.why}`)],
        judged: false,
      };
    }
    case 'refused':
      return { ...EMPTY, warnings, problems: loaded.complaints.map((complaint) => problemOf(complaint, text)) };
    case 'listed':
      return { ...listed(loaded.text, own), warnings, judged: true };
  }
}

/** Loads until nft names no further device that is not there: one behind a `define` is found only so. */
async function loadWithDevices(
  host: Host,
  text: JoinedText,
  named: readonly Device[],
): Promise<{ readonly loaded: NftLoaded; readonly devices: readonly Device[] }> {
  const devices = [...named];
  for (;;) {
    const names = devices.map(({ name }) => name);
    const loaded = await loadNftInNamespace(host, text.text, names);
    const more = loaded.kind === 'refused' ? missingDevices(loaded.complaints, text.text) : [];
    const news = more.filter(({ name }) => !names.includes(name));
    if (news.length === 0) return { loaded, devices };
    devices.push(...news);
  }
}

/** `/dev/stdin:1:14-17: Error: Interface does not exist`: the word that stands there. */
function missingDevices(complaints: readonly NftComplaint[], text: string): Device[] {
  const lines = text.split('\n');
  return complaints.flatMap(({ file, line, column, message }) => {
    const name = /^"?([\w.:+-]{1,15})/.exec(lines[line - 1]?.slice(column - 1) ?? '')?.[1]; // "eth7"
    return file === '/dev/stdin' && message === 'Interface does not exist' && name !== undefined
      ? [{ name, line }]
      : [];
  });
}

function problemOf({ file, line, column, message }: NftComplaint, text: JoinedText): Finding {
  if (file !== '/dev/stdin') return finding('bad-nft', { file, line, column }, message);
  return finding('bad-nft', { ...text.place(line), ...(text.isTemplate(line) ? {} : { column }) }, message);
}

/**
 * Under a name of iptables' only what is native is guarded (ruleset/nft/iptables-part.ts): `table ip nat { chain prerouting ... }`.
 * Undefined: all of the table is.
 */
function whyIptables(table: NftTable): string | undefined {
  const key = tableKey(table);
  if (!IPTABLES_KEYS.has(key)) return undefined;
  if (!isIptablesName(key) || !hasNativeBase(table)) return '';
  const [chain] = splitTable(table).iptables;
  return chain === undefined ? undefined : `, and chain ${chain} would be iptables'`;
}

function listed(listing: string, sources: readonly RuleSource[]): Omit<NativeHalf, 'warnings' | 'judged'> {
  const { tables } = parseNft(listing, 'nft list ruleset');
  const problems: Finding[] = [];
  const usable = tables.filter((table) => {
    const why = whyIptables(table);
    if (why === undefined) return true;
    const said = `table ${tableKey(table)} is iptables' own name${why}; write its rules in a .v4 or .v6 file, or rename it`;
    problems.push(finding('iptables-name', placeOfTable(sources, tableKey(table)), said));
    return false;
  });
  const classified = classifyNative(usable);
  for (const { key, owner, unloadable } of classified.values()) {
    const [first] = unloadable;
    if (owner === USER && first !== undefined)
      problems.push(
        finding(
          'bad-nft',
          placeOfTable(sources, key),
          `table ${key} could not be loaded back as nft lists it: ${first.text}`,
        ),
      );
  }
  const part = userNativeOf(classified);
  const lines = linesByText(sources);
  const rules = (table: NftTable): PlacedRule[] => {
    const key = tableKey(table);
    const whole = placeOfTable(sources, key);
    return rulesOf(table).map(({ chain, text }) => ({
      kind: 'native',
      table: key,
      chain,
      text,
      ...(lines.get(text) ?? whole),
    }));
  };
  return {
    part,
    placed: [...part.values()].flatMap(rules),
    leftOut: [...classified.values()]
      .filter(({ owner }) => owner !== USER)
      .map(({ key, owner, evidence }) => ({
        kind: 'native',
        table: key,
        chain: '',
        text: `table ${key}`,
        owner,
        evidence,
        ...placeOfTable(sources, key),
      })),
    problems,
  };
}
