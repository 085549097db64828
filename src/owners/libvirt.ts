// libvirt's network driver on the iptables engine, in all its ages.
// - Since 5.1: chains LIBVIRT_* and plain jumps into them. A rule inside is libvirt's only when libvirt writes it for a
//   network it has; anything else there is the user's.
// - Before: bare rules in INPUT, FORWARD, POSTROUTING. They are libvirt's only as the whole set of one network in one
//   chain, each line once: a lone line or a second copy is the user's.
// libvirt deletes by rule text (measured), so its rules may be moved and put back by text.

import type { Network } from '../ruleset/network.ts';
import type { Rule } from '../ruleset/types.ts';
import { claimBare } from './libvirt-bare.ts';
import { expectedLibvirtRules } from './libvirt-rules.ts';
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
} from './libvirt-shapes.ts';
import type { Claim, ClaimSheet, Owner, OwnerView } from './types.ts';

export { isLibvirtChain };

const BARE_CHAINS = ['INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

export const libvirt: Owner = {
  id: 'libvirt',
  title: "libvirt's network driver",
  slot: 'kept',
  place: 'catch-all',
  byText: true,
  programs: [{ name: /^(libvirtd|virtnetworkd|virtnwfilterd)$/, reach: 1 }], // libvirtd
  claim(view, sheet) {
    claimJumps(view, sheet);
    for (const chain of view.table.chains.values()) {
      if (!isLibvirtChain(chain.name)) continue;
      sheet.chain(chain.name, { owner: 'libvirt', evidence: `chain name ${chain.name}` });
      claimOwnChain(view, sheet, chain.name, chain.rules);
    }
    for (const name of BARE_CHAINS) claimBare(view, sheet, name);
  },
};

function claimJumps(view: OwnerView, sheet: ClaimSheet): void {
  for (const name of BARE_CHAINS) {
    view.table.chains.get(name)?.rules.forEach((rule, index) => {
      if (isLibvirtJump(rule.text)) {
        sheet.rule(name, index, {
          owner: 'libvirt',
          evidence: `plain jump to ${rule.text.slice(rule.text.lastIndexOf(' ') + 1)}`,
        });
      }
    });
  }
}

/** Inside LIBVIRT_*: what the definitions say, else what the shape of a whole set says. */
function claimOwnChain(view: OwnerView, sheet: ClaimSheet, chain: string, rules: readonly Rule[]): void {
  // With definitions at hand, what libvirt had at the last complete read says nothing more: the network may be gone since.
  const known = view.networks === undefined ? knownTexts(view, chain) : new Set<string>();
  const expected = expectedTexts(view, chain);
  const shaped = shapedRules(view.table.name, chain, rules);
  for (const { index, rule, shape } of shaped) {
    const network = expected.get(rule.text);
    if (network !== undefined) sheet.rule(chain, index, writtenFor(network));
    else if (known.has(rule.text))
      sheet.rule(chain, index, { owner: 'libvirt', evidence: 'as at the last complete read' });
    else {
      const claim = unlistedClaim(view, chain, shape, shaped);
      if (claim !== undefined) sheet.rule(chain, index, claim);
    }
  }
}

/** A network that is not running has no rules: libvirt took them out, an old dump brought them back. */
function writtenFor(network: Network): Claim {
  if (!network.active) return stale(`written for network ${network.name}, which is not running`, network.bridge);
  return { owner: 'libvirt', evidence: `written for network ${network.name}` };
}

/** A libvirt-shaped rule in its own chain that no definition asks for: stale, without definitions, or the user's. */
function unlistedClaim(view: OwnerView, chain: string, shape: Shape, shaped: readonly Shaped[]): Claim | undefined {
  const siblings = shaped.filter((other) => sameNetwork(other.shape, shape));
  const whole = wholeInOwnChain(chain, siblings) && (siblings.length > 1 || standsInForward(view, chain, shape));
  if (view.networks === undefined)
    return whole ? { owner: 'libvirt', evidence: `whole set of ${describe(shape)} by its shape` } : undefined;
  const network = view.networks.find((candidate) => belongs(candidate, shape));
  if (network === undefined)
    return whole
      ? stale(`whole set of ${describe(shape)}, which no network of libvirt has`, bridgeOf(view, shape))
      : undefined;
  const foreignSubnet =
    shape.subnet !== undefined &&
    !hasSubnet(network, shape.subnet) &&
    (shape.line === 'established' || standsBothWays(view, shape.subnet, siblings));
  return foreignSubnet ? stale(`network ${network.name} does not have ${shape.subnet}`) : undefined;
}

/** libvirt writes a subnet into several rules; a plain accept for one that stands alone is the user's. */
function standsBothWays({ table }: OwnerView, subnet: string, siblings: readonly Shaped[]): boolean {
  if (table.name !== 'filter') return siblings.filter((other) => other.shape.subnet === subnet).length > 1;
  const names = (chain: string): boolean =>
    shapedRules('filter', chain, table.chains.get(chain)?.rules ?? []).some((other) => other.shape.subnet === subnet);
  return names('LIBVIRT_FWI') && names('LIBVIRT_FWO');
}

function stale(why: string, bridge?: string): Claim {
  const claim: Claim = { owner: 'libvirt', evidence: `stale: ${why}`, stale: true };
  return bridge === undefined ? claim : { ...claim, bridge };
}

/** NAT's lines name the subnet only; the bridge stands in FWO's accept for it. */
function bridgeOf(view: OwnerView, shape: Shape): string | undefined {
  if (shape.bridge !== '') return shape.bridge;
  const rules = view.ruleset.tables.get('filter')?.chains.get('LIBVIRT_FWO')?.rules ?? [];
  return shapedRules('filter', 'LIBVIRT_FWO', rules).find((other) => other.shape.subnet === shape.subnet)?.shape.bridge;
}

const FULL: Readonly<Record<string, readonly (readonly LineName[])[]>> = {
  LIBVIRT_INP: [['udp53', 'tcp53']],
  LIBVIRT_OUT: [['udp53', 'tcp53']],
  LIBVIRT_FWX: [['cross']],
  LIBVIRT_FWI: [['reject-out']],
  LIBVIRT_FWO: [['reject-in']],
  LIBVIRT_PRT: [['nat-tcp', 'nat-udp', 'nat-any'], ['checksum']],
};

function wholeInOwnChain(chain: string, siblings: readonly Shaped[]): boolean {
  const lines = new Set(siblings.map((sibling) => sibling.shape.line));
  return (FULL[chain] ?? []).some((set) => set.every((line) => lines.has(line)));
}

/** One line is no whole set: in the chains of FORWARD, where libvirt may write a single one, its siblings must stand, too. */
function standsInForward(view: OwnerView, chain: string, { bridge }: Shape): boolean {
  if (!chain.startsWith('LIBVIRT_FW')) return true;
  return ['LIBVIRT_FWX', 'LIBVIRT_FWI', 'LIBVIRT_FWO'].every((name) => {
    const rules = view.table.chains.get(name)?.rules ?? [];
    const lines = new Set(
      shapedRules('filter', name, rules)
        .filter((other) => other.shape.bridge === bridge)
        .map((other) => other.shape.line),
    );
    return (FULL[name] ?? []).some((set) => set.every((line) => lines.has(line)));
  });
}

function sameNetwork(a: Shape, b: Shape): boolean {
  return a.bridge !== '' || b.bridge !== '' ? a.bridge === b.bridge : a.subnet === b.subnet;
}

/** Text -> the network it is written for; a running one before one that only is defined. */
function expectedTexts(view: OwnerView, chain: string): Map<string, Network> {
  const texts = new Map<string, Network>();
  for (const network of view.networks ?? []) {
    const rules = expectedLibvirtRules(network).get(view.ruleset.family)?.get(view.table.name) ?? [];
    for (const { chain: place, text } of rules) {
      if (place === chain && texts.get(text)?.active !== true) texts.set(text, network);
    }
  }
  return texts;
}

function knownTexts(view: OwnerView, chain: string): Set<string> {
  const rules = view.known?.tables.get(view.table.name)?.get(chain)?.rules ?? [];
  return new Set(rules.filter((rule) => rule.owner === 'libvirt').map((rule) => rule.text));
}
