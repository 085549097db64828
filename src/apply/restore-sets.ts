// Puts kept ipsets back that are not there: `ipset restore`, less the lines it refuses.
// Guarantees: a set that exists is not touched; one bad line costs that line (a header: its set), and is named.
// Does not: know which rules need them.

import type { Host } from '../host/host.ts';

/** What ipset refused; `line` is 1-based, of the text as it was kept. */
export interface RefusedSetLine {
  readonly line: number;
  readonly text: string;
  readonly said: string;
}

export interface RestoredSets {
  readonly made: readonly string[];
  readonly refused: readonly RefusedSetLine[];
}

const MOST_REFUSED = 50;

interface Line {
  readonly line: number;
  readonly text: string;
  readonly set: string;
}

export async function restoreSets({ exec }: Pick<Host, 'exec'>, text: string): Promise<RestoredSets> {
  const there = await exec({ file: 'ipset', args: ['list', '-n'] });
  const stands = new Set(there.exitCode === 0 ? there.stdout.split('\n') : []);
  let lines = text
    .split('\n')
    .map((source, index): Line => ({ line: index + 1, text: source, set: source.split(' ')[1] ?? '' }))
    .filter(({ set }) => set !== '' && !stands.has(set));
  const refused: RefusedSetLine[] = [];
  while (lines.length > 0) {
    // What went in before the bad line stays: -exist makes the next try take it as done.
    const input = lines.map((each) => `${each.text}\n`).join('');
    const result = await exec({ file: 'ipset', args: ['restore', '-exist'], input, timeoutMs: 60_000 });
    if (result.exitCode === 0) break;
    const { at, said } = readSetError(result.stderr);
    const bad = at === undefined ? undefined : lines[at - 1];
    if (bad === undefined || refused.length >= MOST_REFUSED) {
      refused.push({ line: lines[0]?.line ?? 0, text: lines[0]?.text ?? '', said });
      break;
    }
    refused.push({ line: bad.line, text: bad.text, said });
    const whole = bad.text.startsWith('create ');
    lines = lines.filter((each) => each !== bad && !(whole && each.set === bad.set));
  }
  const lost = new Set(
    refused.filter((each) => each.text.startsWith('create ')).map((each) => each.text.split(' ')[1]),
  );
  const made = text.matchAll(/^create (\S+) /gm); // create banned hash:ip family inet
  return {
    made: [...made].map(([, name = '']) => name).filter((name) => !stands.has(name) && !lost.has(name)),
    refused,
  };
}

/** `ipset v7.17: Error in line 2: Syntax error: cannot parse 999.0.0.1: resolving to IPv4 address failed` */
export function readSetError(stderr: string): { readonly at: number | undefined; readonly said: string } {
  const found = /^ipset v\S+: Error in line (\d+): (.*)$/m.exec(stderr);
  if (found !== null) return { at: Number(found[1]), said: found[2] ?? '' };
  return { at: undefined, said: stderr.split('\n').find((line) => line.trim() !== '') ?? 'ipset restore failed' };
}
