// What `nft -f -` says when it refuses an input: which line, and why. Pure.
// Guarantees: only lines that begin as nft begins its own (`/dev/stdin:5:11-12: Error: `) are read; the quoted input below
// them is not. Measured with nft 1.0.6 and 1.1.3: what its evaluation refuses (a missing set or interface) comes for several
// lines at once, what the kernel refuses (a chain that is missing) for one.

import type { ExecResult } from '../host/host.ts';

export interface NftError {
  /** 1-based line of the input; undefined when nft names none. */
  readonly line: number | undefined;
  readonly message: string;
}

/** `/dev/stdin:4:6-9: Error: Interface does not exist` */
const ERROR = /^(?:\/dev\/stdin|<stdin>|-):(\d+):\d+-\d+: Error: (.*)$/;

/** Empty when nft took the input. */
export function readNftErrors({ exitCode, stderr }: Pick<ExecResult, 'exitCode' | 'stderr'>): NftError[] {
  if (exitCode === 0) return [];
  const lines = stderr.split('\n');
  const found = lines.flatMap((text): NftError[] => {
    const [, line, message = ''] = ERROR.exec(text) ?? [];
    return line === undefined ? [] : [{ line: Number(line), message }];
  });
  if (found.length > 0) return found;
  return [{ line: undefined, message: lines.find((text) => text.trim() !== '') ?? `exit code ${exitCode}` }];
}
