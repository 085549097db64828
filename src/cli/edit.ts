// `edit`: a rule file in the editor, as visudo does: what is wrong is shown and can be edited again; what is right is applied on
// trial. The file itself changes only when the rules were kept.

import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import type { Config } from '../config.ts';
import type { Host } from '../host/host.ts';
import { applyFiles, type ApplyOptions } from './apply.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { openConfig, openHost, requireRoot, type Session } from './session.ts';

/** `50-web.v4`, `10-hosts.nft.j2` */
const RULE_FILE = /\.(?:v4|v6|nft)(?:\.j2)?$/;

export const register: Register = (command, run) => {
  command
    .description(
      'Opens a rule file in $VISUAL or $EDITOR, then checks it with all others and applies them on trial, as `apply` does. Your file is replaced only when you keep the rules; what you wrote and did not keep stays beside it, and is named.',
    )
    .usage('[OPTIONS] [NAME]')
    .argument('[name]', 'a file in the folder of rule files; made when it is not there. Default: the only one')
    .option('--confirm-within <time>', 'roll back unless confirmed in this time (default 60s)')
    .option('--no-preflight', 'do not look whether management flows are cut');
  addTail(command, {
    examples: [['mendwall edit 50-web.v4', '']],
    exits: [
      ['0', 'kept, or nothing was changed'],
      ['2', 'not a name of a rule file; the file was left with errors'],
      ['5', 'it would cut the management of this host; nobody said yes'],
      ['6', 'rolled back: not confirmed'],
    ],
  });
  command.action(run(edit));
};

async function edit(session: Session, name: string | undefined, options: ApplyOptions): Promise<number> {
  requireRoot(session, 'mendwall edit');
  const { config } = await openConfig(session);
  const host = openHost(session, config);
  try {
    const names = (await host.files.list(config.rulesDir)).filter(
      (each) => RULE_FILE.test(each) && !each.startsWith('.'),
    );
    const chosen = chooseFile(name, names, config);
    return await editFile(session, host, { config, names, name: chosen }, options);
  } finally {
    await host.close();
  }
}

function chooseFile(name: string | undefined, names: readonly string[], { rulesDir }: Config): string {
  if (name === undefined) {
    if (names.length === 1 && names[0] !== undefined) return names[0];
    const known = names.length === 0 ? `${rulesDir} holds no rule file` : `one of: ${names.join(', ')}`;
    throw new Stop(EXIT.usage, `which file? ${known}; a new one is made by its name, as in: mendwall edit 50-web.v4`);
  }
  const plain = basename(name);
  if (!RULE_FILE.test(plain) || (name !== plain && name !== join(rulesDir, plain)))
    throw new Stop(
      EXIT.usage,
      `expected NAME.v4, NAME.v6 or NAME.nft (or .j2 of those) in ${rulesDir}, found "${name}"`,
    );
  return plain;
}

interface Edited {
  readonly config: Config;
  readonly names: readonly string[];
  readonly name: string;
}

async function editFile(session: Session, host: Host, edited: Edited, options: ApplyOptions): Promise<number> {
  const { config, names, name } = edited;
  const path = join(config.rulesDir, name);
  const before = (await host.files.read(path)) ?? '';
  // A folder of its own, so that the copy has the file's own name.
  const folder = join(config.rulesDir, `.edit-${randomBytes(4).toString('hex')}`);
  const copy = join(folder, name);
  await host.files.makeDir(folder);
  await host.files.writeAtomic(copy, before);
  let keeps = false;
  try {
    const files = [...new Set([...names, name])]
      .sort()
      .map((each) => (each === name ? copy : join(config.rulesDir, each)));
    const exit = await editUntilRight(session, host, { copy, before, files }, options);
    if (exit === undefined) session.print(`unchanged: ${path}`);
    else await host.files.writeAtomic(path, (await host.files.read(copy)) ?? before);
    return exit ?? EXIT.ok;
  } catch (error) {
    keeps = ((await host.files.read(copy)) ?? before) !== before;
    if (keeps) session.say(`${path} stays as it was; what you wrote is in ${copy}`);
    throw error;
  } finally {
    if (!keeps) await host.files.remove(folder);
  }
}

interface Copy {
  readonly copy: string;
  readonly before: string;
  readonly files: readonly string[];
}

/** The exit code once it was applied and kept; undefined where nothing was changed. */
async function editUntilRight(
  session: Session,
  host: Host,
  { copy, before, files }: Copy,
  options: ApplyOptions,
): Promise<number | undefined> {
  for (;;) {
    await openEditor(session, copy);
    if (((await host.files.read(copy)) ?? '') === before) return undefined;
    try {
      return await applyFiles(session, { files, all: true }, options);
    } catch (error) {
      if (!(error instanceof Stop) || error.exitCode !== EXIT.usage) throw error;
      session.say(error.message);
      if (!(await session.terminal.confirm('edit again?'))) throw error;
    }
  }
}

/** The editor's own words are the user's, so the user's shell reads them, as for every program that edits. */
async function openEditor(session: Session, path: string): Promise<void> {
  const { env } = session.terminal;
  const editor = env['VISUAL'] ?? env['EDITOR'] ?? 'vi';
  const code = await session.terminal.hand('sh', ['-c', `${editor} "$1"`, 'mendwall-edit', path]);
  if (code !== 0)
    throw new Stop(EXIT.usage, `the editor (${editor}) ended with ${code}; nothing was changed; see $VISUAL, $EDITOR`);
}
