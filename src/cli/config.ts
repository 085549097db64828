import { columns } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { addGlobalOptions } from './program.ts';
import { openConfig, type Session } from './session.ts';

export const register: Register = (command, run) => {
  command
    .description(
      'The effective settings and where each comes from: default, file:line, option or environment variable.',
    )
    .usage('show');
  addTail(command, {
    examples: [
      ['mendwall config show', ''],
      ['mendwall --config ./test.toml config show', 'check a file'],
    ],
    exits: [
      ['0', 'ok'],
      ['2', 'a file is wrong: file, line, column, key, expected, found'],
    ],
    notes:
      'FILES\n  /etc/mendwall/mendwall.toml, then conf.d/*.toml beside it;\n  every option is optional.\n\nENVIRONMENT\n  MENDWALL_CONFIG, MENDWALL_RUN, MENDWALL_PROCFS, MENDWALL_SPOOL',
  });
  const sub = command.command('show').description('print them').allowExcessArguments(false);
  addGlobalOptions(sub);
  sub.action(run(show));
  command.action(run(() => Promise.reject(new Stop(EXIT.usage, 'expected show; see mendwall config --help'))));
};

async function show(session: Session): Promise<number> {
  const { settings } = await openConfig(session);
  if (session.options.json === true) session.printJson({ kind: 'config', settings });
  else session.print(columns(settings.map(({ key, value, from }) => [key, '=', JSON.stringify(value), `# ${from}`])));
  return EXIT.ok;
}
