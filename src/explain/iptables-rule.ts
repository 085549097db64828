// The iptables front: rules as iptables-save prints them (or as typed, with `-A`), compiled to base chains.
//
// Goal: everything a host's rules commonly say. Guarantee: what is not understood depends, it is never skipped: an
// unknown match leaves the rule open, an unknown target may do anything.
// Does not: resolve names of hosts, read ipsets or addresses by itself (Facts). Pure.

import type { Chain, Ruleset } from '../ruleset/types.ts';
import { compileContext, type CompileContext, type Facts } from './facts.ts';
import { all, type Predicate } from './expression.ts';
import { Guards } from './iptables-guards.ts';
import { matchOf } from './iptables-match.ts';
import { targetAction } from './iptables-target.ts';
import { ruleWords } from './iptables-words.ts';
import type { BaseChain, CompiledChain, CompiledRule, Hook, Program, Step } from './program.ts';

interface Seat {
  readonly hook: Hook;
  readonly priority: number;
}

const hooks = (priority: number, ...names: readonly Hook[]): readonly (readonly [string, Seat])[] =>
  names.map((hook) => [hook.toUpperCase(), { hook, priority }] as const);

/** Where each table's built-in chains are hooked (include/uapi/linux/netfilter_ipv4.h, NF_IP_PRI_*). */
const SEATS: Readonly<Record<string, ReadonlyMap<string, Seat>>> = {
  raw: new Map(hooks(-300, 'prerouting', 'output')),
  mangle: new Map(hooks(-150, 'prerouting', 'input', 'forward', 'output', 'postrouting')),
  nat: new Map([...hooks(-100, 'prerouting', 'output'), ...hooks(100, 'input', 'postrouting')]),
  filter: new Map(hooks(0, 'input', 'forward', 'output')),
  security: new Map(hooks(50, 'input', 'forward', 'output')),
};

/** A class, as a ruleset has ten thousand: accessors of a literal cost each of them its own functions. */
class LazyRule implements CompiledRule {
  readonly text: string;
  readonly #context: CompileContext;
  #guards: Guards | undefined;
  #steps: readonly Step[] | undefined;

  constructor(text: string, context: CompileContext) {
    this.text = text;
    this.#context = context;
  }

  someGuard(test: (guard: Predicate) => boolean): boolean {
    return (this.#guards ??= new Guards(this.text, this.#context)).some(test);
  }

  get steps(): readonly Step[] {
    return (this.#steps ??= compileSteps(this.text, this.#context));
  }
}

/** Compiles one rule, `-A CHAIN ...`: nothing at once, its guards when a packet comes by, the rest when it passes them. */
export function compileIptablesRule(text: string, context: CompileContext): CompiledRule {
  return new LazyRule(text, context);
}

function compileSteps(text: string, context: CompileContext): readonly Step[] {
  const { segments, target } = ruleWords(text);
  const test = all(segments.map((segment) => matchOf(segment, context)));
  const action = targetAction(target, context);
  const steps: Step[] = test.kind === 'always' ? [] : [{ kind: 'match', test }];
  if (action !== undefined) steps.push(action);
  return steps;
}

/** The base chains of one family. Tables and chains that iptables does not know are never reached, as in the kernel. */
export function compileIptables(ruleset: Ruleset, facts: Facts = {}): Program {
  const context = compileContext(ruleset.family, facts);
  const baseChains: BaseChain[] = [];
  for (const table of ruleset.tables.values()) {
    const chains = new Map([...table.chains].map(([name, chain]) => [name, compileChain(chain, context)]));
    for (const [name, { hook, priority }] of SEATS[table.name] ?? []) {
      const chain = chains.get(name);
      if (chain === undefined) continue;
      const policy = table.chains.get(name)?.policy === 'DROP' ? 'drop' : 'accept';
      const type = table.name === 'nat' ? 'nat' : table.name === 'mangle' && hook === 'output' ? 'route' : 'filter';
      const where = { engine: 'iptables', family: ruleset.family, table: table.name } as const;
      baseChains.push({ ...where, type, hook, priority, policy, chain, chains });
    }
  }
  return { baseChains, unseen: [] };
}

/** Its rules are compiled when a packet first comes there: most packets see few of the chains. */
function compileChain(chain: Chain, context: CompileContext): CompiledChain {
  let rules: readonly CompiledRule[] | undefined;
  return {
    name: chain.name,
    get rules() {
      rules ??= chain.rules.map(({ text }) => compileIptablesRule(text, context));
      return rules;
    },
  };
}
