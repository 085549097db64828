// The first options of a rule, read without compiling it: where one of them fails, the rule does not match. Most rules
// of a long list are passed by so.
//
// Guarantee: each guard is one of the rule's own conditions, so a guard that fails decides; it never says that a rule
// matches. Reads only what iptables-save prints in front: stops at a `!`, a quote, or an option it does not know. Pure.

import type { Predicate } from './expression.ts';
import type { CompileContext } from './facts.ts';
import { guardOption } from './iptables-match.ts';

/** Matches whose options each narrow by themselves, with the one argument each takes. */
const PLAIN: Readonly<Record<string, readonly string[]>> = {
  '': ['-s', '-d', '-i', '-o', '-p'],
  tcp: ['--sport', '--dport'],
  udp: ['--sport', '--dport'],
  multiport: ['--sports', '--dports'],
  conntrack: ['--ctstate'],
};

/** Reads a rule's guards one by one, as far as they are asked for. */
export class Guards {
  readonly #text: string;
  readonly #context: CompileContext;
  readonly #known: Predicate[] = [];
  #match = '';
  /** Where the next option begins; 0 behind the last guard. */
  #at: number;

  constructor(text: string, context: CompileContext) {
    this.#text = text;
    this.#context = context;
    // `-A "a chain"`: spaces do not part words there.
    this.#at = text[3] === '"' ? 0 : text.indexOf(' ', 3) + 1;
  }

  /** Whether one of them is so. */
  some(test: (guard: Predicate) => boolean): boolean {
    for (const guard of this.#known) if (test(guard)) return true;
    for (;;) {
      const guard = this.#next();
      if (guard === undefined) return false;
      this.#known.push(guard);
      if (test(guard)) return true;
    }
  }

  #next(): Predicate | undefined {
    while (this.#at > 0) {
      const space = this.#text.indexOf(' ', this.#at);
      const end = space === -1 ? -1 : this.#text.indexOf(' ', space + 1);
      const name = this.#text.slice(this.#at, Math.max(space, 0));
      const argument = this.#text.slice(space + 1, Math.max(end, 0));
      const guard = end === -1 || name === '-m' ? undefined : this.#read(name, argument);
      this.#at = guard !== undefined || (name === '-m' && end !== -1) ? end + 1 : 0;
      if (guard !== undefined) return guard;
      this.#match = argument;
    }
    return undefined;
  }

  #read(name: string, argument: string): Predicate | undefined {
    const known = PLAIN[this.#match]?.includes(name) === true;
    return known ? guardOption(this.#match, name, argument, this.#context) : undefined;
  }
}
