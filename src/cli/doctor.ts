import { doctor, type DoctorAsk, type DoctorResult } from '../verbs/doctor.ts';
import type { DaemonFact, HookFact, Read, Verdict } from '../doctor/types.ts';
import { systemBus } from '../host/bus.ts';
import { type Files, HostError } from '../host/host.ts';
import { callControl } from '../host/socket.ts';
import type { DaemonStatus } from '../verbs/status.ts';
import { DAEMON_ANSWERS_MS, socketPath } from './call-verb.ts';
import { columns, paint } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT } from './exit-codes.ts';
import { addTail } from './help.ts';
import { contextOf, openConfig, openHost, type OpenConfig, safe, type Session } from './session.ts';

const NOTES = `One line a finding: PASS, WARN, FAIL or SKIP, the check, the evidence; below a WARN
or FAIL the line to paste. SKIP: it could not be read, and the line says why.`;

export const register: Register = (command, run) => {
  command
    .description(
      'Looks for what is known to go wrong on virtualization hosts: PASS, WARN, FAIL, each with evidence and the line to paste. Needs neither daemon nor snapshot, and root only to read the rules. Changes nothing, starts nothing.',
    )
    .usage('[OPTIONS]');
  addTail(command, {
    notes: NOTES,
    examples: [
      ['mendwall doctor', ''],
      [`mendwall doctor --json | jq '.findings[] | select(.verdict == "FAIL")'`, 'for scripts'],
    ],
    exits: [
      ['0', 'no FAIL and no WARN'],
      ['1', 'some'],
      ['2', 'the configuration is wrong'],
    ],
  });
  command.action(run(show));
};

async function show(session: Session): Promise<number> {
  const opened = await openConfigOrDefaults(session);
  const { config } = opened;
  const host = openHost(session, config);
  const bus = systemBus({ clock: host.clock, log: { write: () => undefined }, ...busAddress(session) });
  try {
    const { context, stateUnread } = await openState(session, host, config);
    const ask: DoctorAsk = {
      ...(await daemonOf(config)),
      config: opened.said,
      stateUnread,
      hooks: await hooksOf(session, host),
      bus,
      uid: session.terminal.uid,
    };
    const result = await doctor({ context, config }, ask);
    if (session.options.json === true) session.printJson(result);
    else for (const line of doctorLines(result, session.color)) session.printPainted(line);
    return result.findings.some(({ verdict }) => verdict === 'WARN' || verdict === 'FAIL') ? EXIT.drift : EXIT.ok;
  } finally {
    await bus.close();
    await host.close();
  }
}

function busAddress({ terminal }: Session): { address?: string } {
  const address = terminal.env['DBUS_SYSTEM_BUS_ADDRESS'];
  return address === undefined || address === '' ? {} : { address };
}

// ---- what may be closed to us

type Opened = OpenConfig & { readonly said: Read<string> };

/** Where the configuration may not be read, its defaults stand in for it. */
async function openConfigOrDefaults(session: Session): Promise<Opened> {
  try {
    const opened = await openConfig(session);
    const isThere = await session.terminal.makeHost({ ownFolders: [] }).files.exists(opened.path);
    return { ...opened, said: { kind: 'read', value: isThere ? opened.path : `no ${opened.path}: defaults` } };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const { terminal } = session;
    const makeHost: Session['terminal']['makeHost'] = (options) => {
      const host = terminal.makeHost(options);
      return { ...host, files: withoutFolder(host.files, '/') };
    };
    const opened = await openConfig({ ...session, terminal: { ...terminal, makeHost } }, true);
    return { ...opened, said: { kind: 'unread', why: error.message } };
  }
}

type Host = ReturnType<typeof openHost>;
type Context = Awaited<ReturnType<typeof contextOf>>;

async function openState(
  session: Session,
  host: Host,
  config: OpenConfig['config'],
): Promise<{ readonly context: Context; readonly stateUnread: string | undefined }> {
  try {
    return { context: await contextOf(session, host, config), stateUnread: undefined };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const files = withoutFolder(host.files, config.stateDir);
    return { context: await contextOf(session, { ...host, files }, config), stateUnread: error.message };
  }
}

/** The same files, and nothing below one folder. */
function withoutFolder(files: Files, folder: string): Files {
  const isHidden = (path: string): boolean => folder === '/' || path === folder || path.startsWith(`${folder}/`);
  return {
    ...files,
    read: (path) => (isHidden(path) ? Promise.resolve(undefined) : files.read(path)),
    list: (path) => (isHidden(path) ? Promise.resolve([]) : files.list(path)),
    exists: (path) => (isHidden(path) ? Promise.resolve(false) : files.exists(path)),
    readLink: (path) => (isHidden(path) ? Promise.resolve(undefined) : files.readLink(path)),
    stat: (path) => (isHidden(path) ? Promise.resolve(undefined) : files.stat(path)),
  };
}

async function daemonOf(config: OpenConfig['config']): Promise<Pick<DoctorAsk, 'daemon' | 'status'>> {
  const outcome = await callControl(socketPath(config), { schema: 1, verb: 'status', args: {} }, DAEMON_ANSWERS_MS);
  if (outcome.kind === 'answer' && outcome.answer.ok)
    return { daemon: 'running', status: outcome.answer.result as DaemonStatus };
  const daemon: DaemonFact = outcome.kind === 'answer' ? 'silent' : outcome.kind;
  return { daemon, status: undefined };
}

async function hooksOf(session: Session, host: Host): Promise<Read<readonly HookFact[]>> {
  if (session.inside !== undefined)
    return { kind: 'unread', why: 'libvirt’s hooks are the host’s: ask without --netns' };
  const { hooksStatus } = await import('./hooks-status.ts');
  const { readScript } = await import('./hooks.ts');
  try {
    return { kind: 'read', value: await hooksStatus(host, await readScript(session)) };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { kind: 'unread', why: error.message };
  }
}

// ---- the screen

const COLORS = { PASS: 'green', WARN: 'bold', FAIL: 'red', SKIP: 'cyan' } as const;

/** Safe for a terminal. */
export function doctorLines({ findings }: DoctorResult, color: boolean): string[] {
  const heads = columns(
    findings.map(({ verdict, check, evidence }) => [verdict, check, safe(evidence.replaceAll('\n', ' '))]),
  ).split('\n');
  const lines = findings.flatMap(({ verdict, paste }, at) => {
    const head = (heads[at] ?? '').replace(verdict, paint(verdict, COLORS[verdict], color));
    return paste === undefined ? [head] : [head, `        ${safe(paste)}`];
  });
  const numbers = (['FAIL', 'WARN', 'PASS', 'SKIP'] as const satisfies readonly Verdict[])
    .map((verdict) => [verdict, findings.filter((each) => each.verdict === verdict).length] as const)
    .filter(([, number]) => number > 0)
    .map(([verdict, number]) => `${number} ${verdict}`);
  return [...lines, '', numbers.join(', ')];
}
