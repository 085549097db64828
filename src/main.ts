// argv in, exit code out; the only file that builds the real terminal and ends the process.

import { dirname, join } from 'node:path';
import { realTerminal } from './host/terminal.ts';
import { VERSION } from './cli/version.ts';

async function main(): Promise<number> {
  const terminal = realTerminal(packageDir());
  if (terminal.args.length === 1 && (terminal.args[0] === '--version' || terminal.args[0] === '-V')) {
    terminal.out(`${VERSION}\n`);
    return 0;
  }
  const { runCommandLine } = await import('./cli/program.ts');
  return runCommandLine(terminal);
}

/** dist/ and src/ both lie right below the package; in the bundle `__filename` is where a link of npm's leads to. */
function packageDir(): string {
  const file = typeof __filename === 'string' ? __filename : (process.argv[1] ?? '.');
  return join(dirname(file), '..');
}

// `mendwall diff | head -1`: nobody reads the rest, which is no trouble worth a word.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

void main().then((exitCode) => {
  // What was written goes out first.
  process.stdout.write('', () => process.exit(exitCode));
});
