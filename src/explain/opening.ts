// The rule that lets a kind of traffic through one base chain, in that chain's own language. Pure.
//
// Guarantee: put where it says, at the top of the base chain, it accepts there (an accept ends that base chain only, so
// it opens nothing another base chain closes). In Docker's FORWARD it goes to DOCKER-USER, the chain Docker leaves alone.

import type { Needs } from './guest-traffic.ts';
import type { BaseChain, CompiledChain, TableName } from './program.ts';

export interface Opening extends TableName {
  /** The chain it belongs at the top of. */
  readonly chain: string;
  /** `-A INPUT -i virbr0 ... -j ACCEPT`, or `iifname "virbr0" ... accept`. */
  readonly rule: string;
  /** The same as one command a person can type. */
  readonly command: string;
}

/** The rule that opens `base` for what `needs` names. */
export function openingIn(base: BaseChain, needs: Needs): Opening {
  const { engine, family, table } = base;
  const chain = usersChain(base);
  if (engine === 'nft') {
    const rule = `${nftMatches(needs)} accept`;
    return { engine, family, table, chain, rule, command: `nft insert rule ${family} ${table} ${chain} ${rule}` };
  }
  const matches = iptablesMatches(needs);
  const program = needs.family === 'ip' ? 'iptables' : 'ip6tables';
  const inTable = table === 'filter' ? '' : ` -t ${table}`;
  return {
    engine,
    family,
    table,
    chain,
    rule: `-A ${chain} ${matches} -j ACCEPT`,
    command: `${program}${inTable} -I ${chain} ${matches} -j ACCEPT`,
  };
}

const DOCKER_USER = 'DOCKER-USER';

function usersChain({ chain, chains, engine }: BaseChain): string {
  return engine === 'iptables' && chains.has(DOCKER_USER) && startsWithJump(chain) ? DOCKER_USER : chain.name;
}

/** Every packet comes to DOCKER-USER first; an accept elsewhere would have gone by it. */
function startsWithJump({ rules }: CompiledChain): boolean {
  const [first] = rules[0]?.steps ?? [];
  return first?.kind === 'jump' && first.chain === DOCKER_USER;
}

// In the order iptables-save prints, so that the rule reads back as written.
function iptablesMatches({ saddr, daddr, iif, oif, protocol, dport, established }: Needs): string {
  const parts = [
    saddr === undefined ? '' : `-s ${saddr}`,
    daddr === undefined ? '' : `-d ${daddr}`,
    iif === undefined ? '' : `-i ${iif}`,
    oif === undefined ? '' : `-o ${oif}`,
    protocol === undefined ? '' : `-p ${protocol} -m ${protocol} --dport ${dport}`,
    established === undefined ? '' : '-m conntrack --ctstate RELATED,ESTABLISHED',
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function nftMatches({ family, saddr, daddr, iif, oif, protocol, dport, established }: Needs): string {
  const parts = [
    iif === undefined ? '' : `iifname "${iif}"`,
    oif === undefined ? '' : `oifname "${oif}"`,
    saddr === undefined ? '' : `${family} saddr ${saddr}`,
    daddr === undefined ? '' : `${family} daddr ${daddr}`,
    protocol === undefined ? '' : `${protocol} dport ${dport}`,
    established === undefined ? '' : 'ct state established,related',
  ];
  return parts.filter((part) => part !== '').join(' ');
}
