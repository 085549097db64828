// Who fights for the order, and when to stand down. Pure.
// The budget counts only displacement by the same rival in the same chain. Past it the order there is left alone, with one
// warning naming the rival; when the rival has been quiet for a window, the guard recovers and says so.
// Lost rules are never given up: they return after growing pauses.

export interface ContentionSettings {
  /** Mends of one chain's order against one rival within the window. */
  readonly budget: number;
  readonly windowMs: number;
}

interface Rivalry {
  readonly rival: string;
  readonly timesMs: readonly number[];
  readonly contended: boolean;
}

/** By chain: `ip filter FORWARD`. */
export type Contention = ReadonlyMap<string, Rivalry>;

export interface ContentionChange {
  readonly chain: string;
  readonly rival: string;
  readonly kind: 'contended' | 'recovered';
}

/** Several mends within one burst of the rival's count once. */
const SAME_BURST_MS = 500;

/** Notes that a chain's order was mended, or found contested, because of a rival. */
export function noteDisplacement(
  contention: Contention,
  chain: string,
  rival: string,
  nowMs: number,
  settings: ContentionSettings,
): { contention: Contention; change: ContentionChange | undefined } {
  const before = contention.get(chain);
  const times = before?.rival === rival ? before.timesMs.filter((time) => nowMs - time < settings.windowMs) : [];
  const timesMs = nowMs - (times.at(-1) ?? Number.NEGATIVE_INFINITY) < SAME_BURST_MS ? times : [...times, nowMs];
  const contended = timesMs.length >= settings.budget;
  const next = new Map(contention).set(chain, { rival, timesMs, contended });
  const change: ContentionChange | undefined =
    contended && before?.contended !== true ? { chain, rival, kind: 'contended' } : undefined;
  return { contention: next, change };
}

/** Somebody wrote into a chain whose order is left alone: its rival is not quiet yet. Others are not touched. */
export function noteWrite(contention: Contention, chain: string, nowMs: number): Contention {
  const rivalry = contention.get(chain);
  if (rivalry?.contended !== true) return contention;
  return new Map(contention).set(chain, { ...rivalry, timesMs: [...rivalry.timesMs.slice(-1), nowMs] });
}

/** Ends rivalries that have been quiet for a whole window. */
export function ageContention(
  contention: Contention,
  nowMs: number,
  settings: ContentionSettings,
): { contention: Contention; changes: ContentionChange[] } {
  const changes: ContentionChange[] = [];
  const next = new Map(contention);
  for (const [chain, rivalry] of contention) {
    const last = rivalry.timesMs.at(-1) ?? 0;
    if (nowMs - last < settings.windowMs) continue;
    next.delete(chain);
    if (rivalry.contended) changes.push({ chain, rival: rivalry.rival, kind: 'recovered' });
  }
  return { contention: next, changes };
}

/** Chains whose order is left alone now. */
export function contendedChains(contention: Contention): ReadonlySet<string> {
  return new Set([...contention].filter(([, rivalry]) => rivalry.contended).map(([chain]) => chain));
}

/** How long to wait before lost rules are put back the n-th time within a window: at once within the budget, then 1, 2, 4 ... 60 s. */
export function restorePauseMs(restoredMs: readonly number[], nowMs: number, settings: ContentionSettings): number {
  const recent = restoredMs.filter((time) => nowMs - time < 2 * settings.windowMs).length;
  return recent < settings.budget ? 0 : Math.min(60_000, 1000 * 2 ** (recent - settings.budget));
}
