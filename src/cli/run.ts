import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { requireRoot, type Session } from './session.ts';

interface Options {
  readonly mode?: string;
}

export const register: Register = (command, run) => {
  command
    .description(
      'The daemon: hears the kernel, libvirt, firewalld and the hooks, and runs a pass for what it hears. In observe mode it only says what it would do. Stopping it leaves every rule in place. SIGHUP reads the configuration again. It also guards the network namespaces that [[netns]] in the configuration names.',
    )
    .usage('[OPTIONS]')
    .option('--mode <mode>', 'observe or merge; default: the configuration (observe)');
  addTail(command, {
    examples: [
      ['systemctl enable --now mendwall', 'the usual way'],
      ['mendwall run --mode merge', 'in the foreground; Ctrl-C ends it'],
    ],
    exits: [
      ['0', 'it was stopped'],
      ['2', 'no snapshot yet (run mendwall init), or the configuration is wrong'],
      ['4', 'another mendwall runs, or holds the lock'],
      ['5', 'no snapshot is whole; the message says what to do'],
      ['7', 'not root'],
    ],
  });
  command.action(run(daemon));
};

async function daemon(session: Session, options: Options): Promise<number> {
  const { mode } = options;
  if (mode !== undefined && mode !== 'observe' && mode !== 'merge')
    throw new Stop(EXIT.usage, `--mode: expected observe or merge, found "${mode}"`);
  requireRoot(session, 'mendwall run');
  const { runDaemon } = await import('./run-daemon.ts');
  return runDaemon(session, mode);
}
