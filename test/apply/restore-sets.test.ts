// Kept sets put back: what stands stays, one bad line costs that line.

import { describe, expect, it } from 'vitest';
import { restoreSets } from '../../src/apply/restore-sets.ts';
import type { Command, ExecResult } from '../../src/host/host.ts';

const TEXT = `create a hash:ip family inet
add a 192.0.2.1
add a 999.0.2.2
create bad hash:nonsense
add bad 1
create b hash:ip family inet
`;

/** ipset that knows the sets `there`, and refuses the first line that holds `nonsense` or `999`. */
function ipset(there: string): { exec(command: Command): Promise<ExecResult>; readonly inputs: string[] } {
  const inputs: string[] = [];
  return {
    inputs,
    exec(command) {
      const lines = (command.input ?? '').split('\n');
      if (command.args[0] === 'restore') inputs.push(command.input ?? '');
      const bad = lines.findIndex((line) => /nonsense|999/.test(line)) + 1;
      const stderr = bad === 0 ? '' : `ipset v7.17: Error in line ${bad}: Syntax error: no\n`;
      const stdout = command.args[0] === 'list' ? there : '';
      return Promise.resolve({
        command,
        exitCode: bad === 0 ? 0 : 1,
        stdout,
        stderr,
        durationMs: 0,
        timedOut: false,
        pid: 1,
      });
    },
  };
}

describe('restoreSets', () => {
  it('leaves out what is refused, a header with its elements, and names the lines of the file', async () => {
    const host = ipset('');
    const result = await restoreSets(host, TEXT);
    expect(result.made).toEqual(['a', 'b']);
    expect(result.refused).toEqual([
      { line: 3, text: 'add a 999.0.2.2', said: 'Syntax error: no' },
      { line: 4, text: 'create bad hash:nonsense', said: 'Syntax error: no' },
    ]);
    expect(host.inputs.at(-1)).toBe('create a hash:ip family inet\nadd a 192.0.2.1\ncreate b hash:ip family inet\n');
  });

  it('does not touch a set that stands', async () => {
    const host = ipset('a\nbad\nb\n');
    expect(await restoreSets(host, TEXT)).toEqual({ made: [], refused: [] });
    expect(host.inputs).toEqual([]);
  });
});
