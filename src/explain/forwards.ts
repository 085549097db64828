// Port forwards into a NAT network of libvirt's nftables backend: libvirt's own reject refuses them, and no rule outside libvirt's
// table opens it (an accept ends its own base chain only). Pure.
//
// Guarantees: a forward is named only when a new connection to its target is certainly rejected by libvirt's rule; one that the
// user opened inside libvirt's table is not. Only forwards of what comes in from outside: the host's own connections to a guest
// do not pass `forward`.
// Does not: follow targets that are ranges or maps.

import type { Classified } from '../classify/classify.ts';
import { isTranslated, LIBVIRT_TABLE } from '../owners/libvirt-nft-rules.ts';
import type { Network } from '../ruleset/network.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { subnetContains } from '../ruleset/subnet.ts';
import type { Family } from '../ruleset/types.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import { type Forwarded, waysFor } from './forward-ways.ts';
import { compileNft } from './nft-ruleset.ts';
import { ownerAt } from './owner.ts';
import { explain } from './path.ts';
import type { BaseChain, CompiledRule, Place, Program, Step } from './program.ts';
import { addressText } from './values.ts';

/** A DNAT rule, and what becomes of its packets. */
export interface RefusedForward extends Forwarded {
  readonly rule: Place;
  readonly owner: OwnerId | undefined;
  /** libvirt's rule, with the handle it has now. */
  readonly reject: { readonly chain: string; readonly text: string; readonly handle: number | undefined };
  /** What works instead, each as a person would type it. */
  readonly ways: readonly string[];
}

export interface ForwardQuestion {
  /** All rules of the host, as in `blocked`. */
  readonly program: Program;
  /** libvirt's tables as `nft -a` lists them. */
  readonly tables: readonly NftTable[];
  readonly networks: readonly Network[];
  readonly classified?: readonly Classified[];
  /** Where connections come in when neither rule nor network says so. */
  readonly uplink?: string;
}

/** Every DNAT whose target libvirt refuses, in the order of the rules. */
export function refusedForwards(question: ForwardQuestion): RefusedForward[] {
  const chains = question.program.baseChains.filter(({ type, hook }) => type === 'nat' && hook === 'prerouting');
  return chains.flatMap((base) =>
    dnatsOf(base).flatMap(({ place, family, address, port }) => {
      const network = question.networks.find((each) => holds(each, family, address));
      if (network === undefined) return [];
      const said = saidBy(place.text ?? '');
      const forwarded: Forwarded = { network, family, address, port: port ?? said.dport, ...said };
      const reject = rejectOf(question, forwarded);
      if (reject === undefined) return [];
      const owner = ownerAt(question.classified ?? [], place);
      return [{ ...forwarded, rule: place, owner, reject, ways: waysFor(forwarded) }];
    }),
  );
}

const holds = (network: Network, family: Family, address: string): boolean =>
  network.active &&
  isTranslated(network, family) &&
  network.addresses.some((each) => each.family === family && subnetContains(family, each.cidr, address));

interface Dnat {
  readonly place: Place;
  readonly family: Family;
  readonly address: string;
  readonly port: number | undefined;
}

function dnatsOf(base: BaseChain): Dnat[] {
  return reached(base).flatMap((chain) =>
    (base.chains.get(chain)?.rules ?? (chain === base.chain.name ? base.chain.rules : [])).flatMap((rule, index) => {
      const target = dnatIn(rule);
      if (target === undefined) return [];
      const { engine, family, table } = base;
      return [{ ...target, place: { engine, family, table, chain, base: base.chain.name, index, text: rule.text } }];
    }),
  );
}

/** The base chain, and all it jumps to. */
function reached({ chain, chains }: BaseChain): string[] {
  const names = new Set([chain.name]);
  for (const name of names) {
    const { rules } = chains.get(name) ?? (name === chain.name ? chain : { rules: [] });
    for (const target of rules.flatMap(({ steps }) => steps.flatMap(jumpsOf))) names.add(target);
  }
  return [...names];
}

function jumpsOf(step: Step): string[] {
  if (step.kind === 'choose') return step.cases.flatMap(({ action }) => jumpsOf(action));
  return step.kind === 'jump' || step.kind === 'goto' ? [step.chain] : [];
}

function dnatIn({ steps }: CompiledRule): Pick<Dnat, 'family' | 'address' | 'port'> | undefined {
  for (const step of steps) {
    if (step.kind !== 'translate' || step.how !== 'dnat') continue;
    const { address, port } = step;
    if (address === undefined || address === 'kept') return undefined;
    const family = typeof address === 'bigint' ? 'ip6' : 'ip';
    return { family, address: addressText(family, address), port: typeof port === 'number' ? port : undefined };
  }
  return undefined;
}

/** `-i eth0 -p tcp -m tcp --dport 2222`, `iifname "eth0" tcp dport 2222`; what is denied or a set says nothing. */
function saidBy(text: string): Pick<Forwarded, 'iif' | 'protocol' | 'dport'> {
  const iif = /(?:^|[^!] )-i ([^\s+]+)(?: |$)/.exec(text)?.[1] ?? /\biif(?:name)? "([^"*]+)"/.exec(text)?.[1];
  const protocol =
    /(?:^|[^!] )-p (tcp|udp)\b/.exec(text)?.[1] ?? /\b(tcp|udp) dport\b|\bl4proto (tcp|udp)\b/.exec(text)?.[0];
  const dport = /[^!] --dport (\d+)(?: |$)/.exec(text)?.[1] ?? /\bdport (\d+)(?: |$)/.exec(text)?.[1];
  return {
    ...(iif !== undefined && { iif }),
    ...(protocol !== undefined && { protocol: protocol.includes('udp') ? ('udp' as const) : ('tcp' as const) }),
    ...(dport !== undefined && { dport: Number(dport) }),
  };
}

/** No interface has this name: a connection from outside, by whatever way. */
const SOMEWHERE = '(outside)';
const OUTSIDE: Readonly<Record<Family, string>> = { ip: '198.41.0.4', ip6: '2001:503:ba3e::2:30' };

function rejectOf({ tables, uplink }: ForwardQuestion, forwarded: Forwarded): RefusedForward['reject'] | undefined {
  const { network, family, address, port, protocol = 'tcp' } = forwarded;
  const table = tables.find((each) => each.name === LIBVIRT_TABLE && each.family === family);
  if (table === undefined || network.bridge === undefined) return undefined;
  const packet = {
    family,
    iif: forwarded.iif ?? network.forwardDevs[0] ?? uplink ?? SOMEWHERE,
    oif: network.bridge,
    src: OUTSIDE[family],
    dst: address,
    protocol,
    sport: 40000,
    ...(port !== undefined && { dport: port }),
    ...(protocol === 'tcp' && { tcpFlags: ['syn'] }),
    ctState: 'new' as const,
  };
  const { verdict, deciding } = explain(compileNft(printNftTable(table)), { packet, journey: 'forward' });
  const place = deciding?.place;
  if (verdict !== 'reject' || place?.chain !== 'guest_input' || place.index === undefined) return undefined;
  const rule = chainsOf(table).find(({ name }) => name === place.chain)?.rules[place.index];
  return rule === undefined ? undefined : { chain: place.chain, text: canonicalRule(rule.text), handle: rule.handle };
}
