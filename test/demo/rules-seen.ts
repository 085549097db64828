// What the rule watcher saw, read: for how long the user's rules did not stand, and what the worst moment looked like.

import { transformSync } from 'esbuild';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Hypervisor } from '../lab/host.ts';
import { REPOSITORY } from '../lab/namespaces.ts';
import { rulesOf, userLines } from '../lab/user-rules.ts';

/** Both rulesets from an instant on (CLOCK_MONOTONIC, ms), as iptables-save prints them without counters. */
export interface RulesSeen {
  readonly atMs: number;
  readonly ip: string;
  readonly ip6: string;
}

export interface RuleWatch {
  /** All states seen so far, the oldest first. */
  readonly seen: readonly RulesSeen[];
  stop(): Promise<void>;
}

/** Starts the watcher and waits for its first reading. Resolution about 20 ms. */
export async function watchRules(hypervisor: Hypervisor): Promise<RuleWatch> {
  const script = '/run/lab/rule-watch.cjs';
  const source = readFileSync(join(REPOSITORY, 'test/demo/rule-watch.ts'), 'utf8');
  hypervisor.writeFile(script, transformSync(source, { loader: 'ts', format: 'cjs', target: 'node20' }).code);
  const program = hypervisor.spawn('node', [script]);
  const seen: RulesSeen[] = [];
  program.onLine((line) => seen.push(JSON.parse(line) as RulesSeen));
  await program.waitFor(/^\{/);
  return { seen, stop: async () => void (await program.stop()) };
}

/**
 * Do the user's rules stand as they did? All there, once each, in their order, and none that stood above libvirt's jumps
 * below one now. libvirt's own rules may be there or not.
 */
export function userRulesStand(now: RulesSeen, before: RulesSeen): boolean {
  return (['ip', 'ip6'] as const).every(
    (family) =>
      userLines(now[family]).join('\n') === userLines(before[family]).join('\n') &&
      aboveLibvirt(before[family]).every((rule) => aboveLibvirt(now[family]).includes(rule)),
  );
}

/** User rules with no jump to libvirt before them in their chain. */
function aboveLibvirt(saved: string): string[] {
  const chainsWithJump = new Set<string>();
  return rulesOf(saved).filter((rule) => {
    const chain = rule.split(' ')[1] ?? '';
    if (rule.includes('-j LIBVIRT_')) chainsWithJump.add(chain);
    return !chainsWithJump.has(chain) && userLines(rule).length > 0;
  });
}

/** Total time in which the user's rules did not stand, between the instants. */
export function userRulesGoneMs(
  seen: readonly RulesSeen[],
  before: RulesSeen,
  sinceMs: number,
  untilMs: number,
): number {
  let total = 0;
  seen.forEach((state, index) => {
    const fromMs = Math.max(state.atMs, sinceMs);
    const toMs = Math.min(seen[index + 1]?.atMs ?? untilMs, untilMs);
    if (toMs > fromMs && !userRulesStand(state, before)) total += toMs - fromMs;
  });
  return total;
}

/** The state that lacked most of the user's rules, or else most of all rules; undefined when nothing ever changed. */
export function worstMoment(seen: readonly RulesSeen[], before: RulesSeen, sinceMs: number): RulesSeen | undefined {
  let worst: RulesSeen | undefined;
  let worstScore = 0;
  for (const state of seen.filter(({ atMs }) => atMs >= sinceMs)) {
    const lost = difference(before, state).filter((line) => line.startsWith('-'));
    const score = lost.length + (userRulesStand(state, before) ? 0 : 1000);
    if (lost.length > 0 && score > worstScore) [worst, worstScore] = [state, score];
  }
  return worst;
}

/** Rule lines only in `before` (`- `) and only in `now` (`+ `), the user's first. */
export function difference(before: RulesSeen, now: RulesSeen): string[] {
  const lines = (['ip', 'ip6'] as const).flatMap((family) => [
    ...without(rulesOf(before[family]), rulesOf(now[family])).map((rule) => `- ${rule}${note(family)}`),
    ...without(rulesOf(now[family]), rulesOf(before[family])).map((rule) => `+ ${rule}${note(family)}`),
  ]);
  const isUser = (line: string): boolean => userLines(line.slice(2)).length > 0;
  return [...lines.filter(isUser), ...lines.filter((line) => !isUser(line))];
}

function note(family: 'ip' | 'ip6'): string {
  return family === 'ip6' ? '   (IPv6)' : '';
}

function without(rules: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return rules.filter((rule) => {
    const at = left.indexOf(rule);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}
