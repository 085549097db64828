// How slow this machine is just now. Limits in ms that a scenario names were written on a machine whose bare Node starts in
// 40 ms; a slower hour gets as much more, a faster one nothing less.

import type { Hypervisor } from './host.ts';

const WRITTEN_AT_MS = 40;

/** ms of the fastest of `times` runs. */
export async function fastestOf(times: number, run: () => Promise<{ readonly durationMs: number }>): Promise<number> {
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < times; round++) fastest = Math.min(fastest, (await run()).durationMs);
  return fastest;
}

/** What a limit in ms is to be multiplied with, 1 or more, and the start of bare Node it comes from. */
export async function machinePace(
  hypervisor: Hypervisor,
): Promise<{ readonly slower: number; readonly nodeMs: number }> {
  const nodeMs = await fastestOf(8, () => hypervisor.exec('node', ['-e', '0']));
  return { slower: Math.max(1, nodeMs / WRITTEN_AT_MS), nodeMs };
}
