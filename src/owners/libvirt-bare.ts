// libvirt before 5.1: bare rules in INPUT, FORWARD, OUTPUT, POSTROUTING. They are libvirt's only as the whole set of one
// network in one chain, each line once: a lone line or a second copy is the user's. Pure.

import { countTexts } from '../ruleset/multiset.ts';
import type { Ruleset } from '../ruleset/types.ts';
import {
  belongs,
  describe,
  hasSubnet,
  isLibvirtChain,
  isLibvirtJump,
  type LineName,
  type Shape,
  type Shaped,
  shapedRules,
  shapeOf,
} from './libvirt-shapes.ts';
import type { ClaimSheet, OwnerView } from './types.ts';

/** The sets of one network in one built-in chain; a set is whole when each of its lines is there. */
const BARE_SETS: Readonly<Record<string, readonly (readonly LineName[])[]>> = {
  INPUT: [['udp53', 'tcp53', 'udp67', 'tcp67']],
  OUTPUT: [['udp68']],
  FORWARD: [
    ['cross', 'established', 'outbound', 'reject-out', 'reject-in'],
    ['cross', 'inbound', 'outbound', 'reject-out', 'reject-in'],
    ['cross', 'reject-out', 'reject-in'],
  ],
  POSTROUTING: [
    ['return-multicast', 'return-broadcast', 'nat-tcp', 'nat-udp', 'nat-any'],
    ['nat-tcp', 'nat-udp', 'nat-any'],
    ['nat-any'],
    ['checksum'],
  ],
};
/** Lines that a set may hold besides: the tftp server's. */
const BESIDES: Readonly<Record<string, readonly LineName[]>> = { INPUT: ['udp69'] };

/** A word that at least one line of every whole set holds: most chains are dismissed by it without a regex. */
const TELLTALE: Readonly<Record<string, RegExp>> = {
  INPUT: /--dport 67 /,
  OUTPUT: /--dport 68 /,
  FORWARD: /^-A FORWARD -i (\S+) -o \1 -j ACCEPT/,
  POSTROUTING: /-j (?:MASQUERADE|SNAT|CHECKSUM)/,
};

/** Claims the whole sets of one built-in chain, and what was libvirt's there at the last complete read. */
export function claimBare(view: OwnerView, sheet: ClaimSheet, chain: string): void {
  const rules = view.table.chains.get(chain)?.rules ?? [];
  const telltale = TELLTALE[chain];
  const known = knownCopies(view, chain);
  if (known.length === 0 && !rules.some((rule) => telltale?.test(rule.text))) return;
  const shaped = shapedRules(view.table.name, chain, rules).filter((entry) => !sheet.claimed(chain, entry.index));
  for (const group of groupByNetwork(shaped)) claimWholeSet(view, sheet, chain, group);
  claimKnownCopies(sheet, chain, shaped, known);
}

function groupByNetwork(shaped: readonly Shaped[]): Shaped[][] {
  const groups = new Map<string, Shaped[]>();
  for (const entry of shaped) {
    const key = describe(entry.shape);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return [...groups.values()];
}

/** One set for each subnet that the group names; without a whole one, the set of an isolated network. */
function claimWholeSet(view: OwnerView, sheet: ClaimSheet, chain: string, group: readonly Shaped[]): void {
  const subnets = new Set(group.flatMap(({ shape }) => (shape.subnet === undefined ? [] : [shape.subnet])));
  const claimed = [...subnets].filter((subnet) => claimSubnetSet(view, sheet, chain, group, subnet));
  if (claimed.length === 0) claimSubnetSet(view, sheet, chain, group, undefined);
}

function claimSubnetSet(
  view: OwnerView,
  sheet: ClaimSheet,
  chain: string,
  group: readonly Shaped[],
  subnet: string | undefined,
): boolean {
  const first = new Map<LineName, Shaped>();
  for (const entry of group) {
    const fits = entry.shape.subnet === undefined || entry.shape.subnet === subnet;
    if (fits && !first.has(entry.shape.line)) first.set(entry.shape.line, entry);
  }
  const set = (BARE_SETS[chain] ?? []).find((lines) => lines.every((line) => first.has(line)));
  const shape = group[0]?.shape;
  const network =
    set === undefined || shape === undefined ? undefined : networkEvidence(view, chain, { ...shape, subnet });
  if (set === undefined || shape === undefined || network === undefined) return false;
  for (const line of [...set, ...(BESIDES[chain] ?? [])]) {
    const entry = first.get(line);
    if (entry === undefined) continue;
    sheet.rule(chain, entry.index, {
      owner: 'libvirt',
      evidence: `${line}, of the whole set of ${describe(shape)} in ${chain} (${network})`,
    });
  }
  return true;
}

/** lxc-net writes the same four lines of INPUT for its own bridge (lxc-net(8), LXC_BRIDGE's default). */
const NEVER_LIBVIRTS = /^lxcbr\d+$/; // lxcbr0

/**
 * Whose network a bare set is: libvirt's definitions say so, or the shape. INPUT's and FORWARD's sets speak for
 * themselves; the single lines of OUTPUT and POSTROUTING are what an admin writes too: they need FORWARD's whole set of the
 * same network beside them, or a definition on a host whose libvirt has no chains of its own.
 */
function networkEvidence(view: OwnerView, chain: string, shape: Shape): string | undefined {
  const network = view.networks?.find((candidate) => belongs(candidate, shape));
  if (view.networks !== undefined && network === undefined) return undefined;
  if (network !== undefined && shape.subnet !== undefined && !hasSubnet(network, shape.subnet)) return undefined;
  if (network === undefined && NEVER_LIBVIRTS.test(shape.bridge)) return undefined;
  const named = network === undefined ? 'by its shape' : `network ${network.name}`;
  if (chain === 'INPUT' || chain === 'FORWARD' || (network !== undefined && !hasOwnChains(view))) return named;
  return hasForwardSet(view, shape) ? `${named}, beside the whole set of ${describe(shape)} in FORWARD` : undefined;
}

/** Since 5.1 libvirt writes nothing but jumps into built-in chains, and deletes what an older one left there. */
function hasOwnChains(view: OwnerView): boolean {
  for (const table of view.ruleset.tables.values())
    for (const name of table.chains.keys()) if (isLibvirtChain(name)) return true;
  return false;
}

function hasForwardSet(view: OwnerView, shape: Shape): boolean {
  const shapes = forwardShapes(view);
  const outbound = shapes.find((found) => found.line === 'outbound' && found.subnet === shape.subnet);
  const bridge = shape.bridge === '' ? outbound?.bridge : shape.bridge;
  const lines = new Set(shapes.filter((found) => found.bridge === bridge).map((found) => found.line));
  return (BARE_SETS['FORWARD'] ?? []).some((set) => set.every((line) => lines.has(line)));
}

/** Asked again for each group of OUTPUT and POSTROUTING; FORWARD may be long. */
const forwardShapesOf = new WeakMap<Ruleset, readonly Shape[]>();

function forwardShapes({ ruleset }: OwnerView): readonly Shape[] {
  const found = forwardShapesOf.get(ruleset);
  if (found !== undefined) return found;
  const rules = ruleset.tables.get('filter')?.chains.get('FORWARD')?.rules ?? [];
  const whole = rules.some((rule) => TELLTALE['FORWARD']?.test(rule.text));
  const shapes = whole
    ? rules.map((rule) => shapeOf('filter', 'FORWARD', rule.text)).filter((shape) => shape !== undefined)
    : [];
  forwardShapesOf.set(ruleset, shapes);
  return shapes;
}

/** libvirt's bare rules of the chain at the last complete read; its jumps are told by their form. */
function knownCopies(view: OwnerView, chain: string): readonly string[] {
  const rules = view.known?.tables.get(view.table.name)?.get(chain)?.rules ?? [];
  return rules.filter((rule) => rule.owner === 'libvirt' && !isLibvirtJump(rule.text)).map((rule) => rule.text);
}

/** While libvirt rewrites a bare set one line at a time, the lines it had at the last complete read stay its own. */
function claimKnownCopies(sheet: ClaimSheet, chain: string, shaped: readonly Shaped[], known: readonly string[]): void {
  const left = countTexts(known);
  for (const { index, rule } of shaped) {
    const copies = left.get(rule.text) ?? 0;
    if (copies === 0) continue;
    left.set(rule.text, copies - 1);
    if (!sheet.claimed(chain, index))
      sheet.rule(chain, index, { owner: 'libvirt', evidence: 'as at the last complete read' });
  }
}
