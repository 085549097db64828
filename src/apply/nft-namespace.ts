// A throw-away network namespace in which nft loads a text and lists it. It ends with its one process.
// Guarantees: nothing of the machine's own network is touched; text goes in on stdin, names as arguments, never into the
// shell's script. Devices that the text names are made, since nft turns some names into numbers when it loads.
// Does not: keep nft from reading files that the text includes.

import type { Host } from '../host/host.ts';

export interface NftComplaint {
  /** `/dev/stdin` is the text; else a file that it includes. */
  readonly file: string;
  /** 1-based; 0: nft named none. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type NftLoaded =
  /** As `nft -s list ruleset` prints it. */
  | { readonly kind: 'listed'; readonly text: string }
  | { readonly kind: 'refused'; readonly complaints: readonly NftComplaint[] }
  | { readonly kind: 'unavailable'; readonly why: string };

const SCRIPT = `
for device in "$@"; do
  ip link add "$device" type dummy 2>/dev/null || ip link add "$device" type bridge 2>/dev/null
done
nft -f - || exit
exec nft -s list ruleset
`;

/** Needs root. */
export async function loadNftInNamespace(host: Host, text: string, devices: readonly string[]): Promise<NftLoaded> {
  const names = devices.filter((name) => /^[\w.:+-]{1,15}$/.test(name) && name !== 'lo');
  const result = await host.exec({
    file: 'unshare',
    args: ['--net', '--', 'sh', '-c', SCRIPT, 'sh', ...names],
    input: text,
  });
  if (result.exitCode === 0) return { kind: 'listed', text: result.stdout };
  const said = result.stderr.trim().split('\n')[0] ?? '';
  if (result.timedOut) return { kind: 'unavailable', why: 'nft did not answer in time' };
  if (/^unshare: /.test(result.stderr) || result.exitCode === 127)
    return { kind: 'unavailable', why: `no network namespace of our own (it needs root), or no nft: ${said}` };
  const complaints = complaintsOf(result.stderr);
  return {
    kind: 'refused',
    complaints: complaints.length > 0 ? complaints : [{ file: '/dev/stdin', line: 0, column: 0, message: said }],
  };
}

/** `/dev/stdin:5:11-12: Error: syntax error, unexpected string` */
const ERROR = /^(\S+?):(\d+):(\d+)-\d+: Error: (.*)$/gm;

export const complaintsOf = (stderr: string): NftComplaint[] =>
  [...stderr.matchAll(ERROR)].map(([, file = '', line, column, message = '']) => ({
    file,
    line: Number(line),
    column: Number(column),
    message,
  }));
