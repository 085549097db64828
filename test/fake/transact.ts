// One transaction on one table: read, the window in which others may commit, write.

import type { Family } from '../../src/ruleset/types.ts';
import type { Run } from './kernel.ts';
import { commit, type KernelError } from './nft-commit.ts';
import { resolve, type Job } from './nft-resolve.ts';
import type { Refusal } from './nft-work.ts';

export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'kernel'; readonly errors: readonly KernelError[] }
  | { readonly kind: 'killed' };

/** iptables-nft: handles are looked up once; what happens in the window is not seen (the ERESTART retry re-sends them). */
export function transactNft(run: Run, family: Family, job: Omit<Job, 'losesCounters'>): Outcome {
  const tables = run.state.stores.nft[family];
  const ops = resolve(tables.get(job.table), { ...job, losesCounters: family === 'ip6' });
  if (!Array.isArray(ops)) return { kind: 'refused', refusal: ops as Refusal };
  openWindow(run);
  const failure = run.ours ? run.state.failures.shift() : undefined;
  if (failure === 'killed') return { kind: 'killed' };
  if (failure === 'lost-race') return { kind: 'kernel', errors: [lostRace(ops[0]?.line ?? 1)] };
  const { effects, errors } = commit(tables, job.table, ops);
  if (errors.length > 0) return { kind: 'kernel', errors };
  if (effects.length > 0) run.state.emit(run.author, [[family, effects]], false);
  return { kind: 'done' };
}

const lostRace = (line: number): KernelError => ({
  line,
  text: 'RULE_DELETE failed (No such file or directory): rule in chain FORWARD',
});

/** Lets others act. Acts of others in the window do not open windows of their own. */
export function openWindow(run: Run): void {
  if (!run.ours) return;
  run.state.oneShots.shift()?.();
  run.state.window?.();
}
