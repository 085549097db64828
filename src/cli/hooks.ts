import { HostError } from '../host/host.ts';
import { columns } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { addGlobalOptions } from './program.ts';
import { openConfig, openHost, requireRoot, type Session } from './session.ts';
import type { HookStep } from './hooks-install.ts';

interface Options {
  readonly folder?: string;
  readonly dryRun?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      "libvirt's hooks: a small script that tells mendwall when a network or a guest starts or stops. An existing script is never overwritten: it is kept and still runs.",
    )
    .usage('install | status | remove');
  addTail(command, {
    examples: [
      ['mendwall hooks install -n', 'what it would write'],
      ['mendwall hooks status', 'which stand, and whether libvirt calls them'],
    ],
    exits: [
      ['0', 'ok; status: all hooks stand and are current'],
      ['1', 'status: a hook is missing or outdated; install: one is blocked'],
      ['7', 'not root'],
    ],
  });
  for (const [name, about, action] of [
    ['install', 'write them for qemu, network, libxl, lxc, daemon', install],
    ['status', 'which stand', status],
    ['remove', 'take ours away; a script that we moved goes back', remove],
  ] as const) {
    const sub = command.command(name).description(about).allowExcessArguments(false);
    sub.option('--folder <dir>', 'instead of /etc/libvirt/hooks');
    if (name !== 'status')
      sub
        .option('-n, --dry-run', 'show the steps, do nothing')
        .option('--yes', 'accepted for scripts; nothing is asked');
    addGlobalOptions(sub);
    sub.action(run(action));
  }
  command.action(
    run(() => Promise.reject(new Stop(EXIT.usage, 'expected install, status or remove; see mendwall hooks --help'))),
  );
};

export async function readScript(session: Session): Promise<string> {
  const path = `${session.terminal.packageDir}/hooks/mendwall-hook`;
  const text = await session.terminal.makeHost({ ownFolders: [] }).files.read(path);
  if (text === undefined) throw new HostError('read-failed', `${path} is missing; is the installation whole?`);
  return text;
}

async function hostOf(session: Session): Promise<ReturnType<typeof openHost>> {
  if (session.inside !== undefined)
    throw new Stop(EXIT.usage, "libvirt's hooks are the host's: `mendwall hooks` takes no --netns");
  const { config } = await openConfig(session);
  return openHost(session, config);
}

async function install(session: Session, options: Options): Promise<number> {
  requireRoot(session, 'mendwall hooks install');
  const { hooksLayout, planInstall } = await import('./hooks-install.ts');
  const host = await hostOf(session);
  const script = await readScript(session);
  const setup = {
    script,
    layout: await hooksLayout(host),
    ...(options.folder === undefined ? {} : { folder: options.folder }),
  };
  const steps = await planInstall(host, setup);
  await carryOut(session, steps, script, options.dryRun === true);
  await advise(session, script, options.folder);
  return steps.some(({ kind }) => kind === 'blocked') ? EXIT.drift : EXIT.ok;
}

async function remove(session: Session, options: Options): Promise<number> {
  requireRoot(session, 'mendwall hooks remove');
  const { planRemove } = await import('./hooks-install.ts');
  const steps = await planRemove(await hostOf(session), options.folder);
  await carryOut(session, steps, '', options.dryRun === true);
  return EXIT.ok;
}

async function carryOut(session: Session, steps: readonly HookStep[], script: string, dryRun: boolean): Promise<void> {
  const { applyHookSteps } = await import('./hooks-install.ts');
  if (!dryRun) await applyHookSteps(await hostOf(session), steps, script);
  const changes = steps.filter(({ kind }) => kind !== 'keep' && kind !== 'blocked');
  if (session.options.json === true)
    return session.printJson({ kind: 'hooks', changed: !dryRun && changes.length > 0, steps });
  for (const step of steps) session.print(stepText(step));
  if (changes.length === 0) session.print('unchanged');
}

function stepText(step: HookStep): string {
  switch (step.kind) {
    case 'write':
      return `${step.updates ? 'update' : 'write'} ${step.path}`;
    case 'keep':
      return `keep ${step.path}`;
    case 'chain':
      return `move ${step.path} to ${step.movedTo} and run it from ours`;
    case 'blocked':
      return `blocked ${step.path}: ${step.reason}`;
    case 'remove':
      return `remove ${step.path}`;
    case 'unchain':
      return `move ${step.movedFrom} back to ${step.path}`;
  }
}

async function advise(session: Session, script: string, folder: string | undefined): Promise<void> {
  const { activationAdvice, hooksStatus } = await import('./hooks-status.ts');
  const advice = activationAdvice(await hooksStatus(await hostOf(session), script, folder));
  if (advice !== undefined) session.say(advice);
}

async function status(session: Session, options: Options): Promise<number> {
  const { activationAdvice, hooksStatus } = await import('./hooks-status.ts');
  const statuses = await hooksStatus(await hostOf(session), await readScript(session), options.folder);
  if (session.options.json === true) session.printJson({ kind: 'hooks-status', hooks: statuses });
  else
    session.print(
      columns(
        statuses.map(({ object, state, path, chained }) => [
          object,
          state,
          path ?? '',
          chained === undefined ? '' : `runs ${chained}`,
        ]),
      ),
    );
  const advice = activationAdvice(statuses);
  if (advice !== undefined) session.say(advice);
  return statuses.every(({ state }) => state === 'current') ? EXIT.ok : EXIT.drift;
}
