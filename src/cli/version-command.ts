import type { Register } from './commands.ts';
import { addTail } from './help.ts';
import { EXIT } from './exit-codes.ts';
import { VERSION } from './version.ts';

export const register: Register = (command, run) => {
  command.description('Prints the version, as `mendwall --version` does.').usage('[--json]');
  addTail(command, { examples: [['mendwall version', 'print it']], exits: [['0', 'always']] });
  command.action(
    run(async (session) => {
      if (session.options.json === true) session.printJson({ kind: 'version', version: VERSION });
      else session.print(VERSION);
      return Promise.resolve(EXIT.ok);
    }),
  );
};
