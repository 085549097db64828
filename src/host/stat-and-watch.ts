// What stands at a path, and when the names in a folder change: the two doors the hook spool needs.
// Guarantees: links are not followed; a watch never throws and says once when it is dead.
// What it does not do: say which name changed. inotify may merge and drop events, so the caller lists the folder.

import { watch, type Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { basename } from 'node:path';

import type { FileStat, Watch, WatchHandlers } from './host.ts';

/** lstat(2) of a path; rejects with Node's error when nothing is there. */
export async function statOf(path: string): Promise<FileStat> {
  const stats = await lstat(path);
  return {
    kind: kindOf(stats),
    sizeBytes: stats.size,
    uid: stats.uid,
    mode: stats.mode & 0o7777,
    modifiedMs: stats.mtimeMs,
  };
}

function kindOf(stats: Stats): FileStat['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'folder';
  return stats.isSymbolicLink() ? 'link' : 'other';
}

/** inotify(7) on a folder. The watch does not keep the process alive. */
export function watchFolder(folder: string, handlers: WatchHandlers): Watch {
  let open = true;
  const fail = (error: unknown): void => {
    if (!open) return;
    open = false;
    handlers.failed(error instanceof Error ? error.message : String(error));
  };
  try {
    const watcher = watch(folder, { persistent: false });
    watcher.on('error', fail);
    watcher.on('change', (_kind, name) => {
      handlers.changed();
      // The folder itself was removed or moved (IN_DELETE_SELF): Node says so as a change of the folder's own name, then no more.
      if (name === basename(folder)) fail(`${folder} was removed`);
    });
    return { close: () => ((open = false), watcher.close()) };
  } catch (error) {
    fail(error);
    return { close: () => undefined };
  }
}
