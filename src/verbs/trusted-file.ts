// Files that mendwall takes its orders from: root's, or those of who runs it, and nobody else's to write.

import { type Files, HostError } from '../host/host.ts';

export type TrustedRead =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unsafe'; readonly why: string }
  | { readonly kind: 'unreadable'; readonly why: string };

type Reader = Pick<Files, 'read' | 'stat' | 'readLink'>;

/** Links are followed, some of them; the file, where it really is, decides, and so does its folder (who may write there may replace it). */
export async function readTrusted(files: Reader, path: string, uid: number): Promise<TrustedRead> {
  try {
    const real = await realPath(files, path);
    const why = await distrust(files, real, uid);
    if (why !== undefined) return { kind: 'unsafe', why };
    const text = await files.read(real);
    return text === undefined ? { kind: 'missing' } : { kind: 'text', text };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { kind: 'unreadable', why: error.message };
  }
}

const MOST_LINKS = 8;

async function realPath(files: Reader, path: string): Promise<string> {
  let at = path;
  for (let count = 0; count < MOST_LINKS; count++) {
    const target = await files.readLink(at);
    if (target === undefined) return at;
    at = target.startsWith('/') ? target : `${at.slice(0, at.lastIndexOf('/') + 1)}${target}`;
  }
  return at;
}

async function distrust(files: Reader, path: string, uid: number): Promise<string | undefined> {
  if (/^\/(?:dev\/(?:fd\/|stdin$)|proc\/)/.test(path)) return undefined; // handed over by who runs this
  const folder = path.slice(0, path.lastIndexOf('/')) || (path.startsWith('/') ? '/' : '.');
  for (const [what, place] of [['it', path] as const, ['its folder', folder] as const]) {
    const stat = await files.stat(place);
    if (stat === undefined || stat.kind === 'link') continue;
    if (stat.uid !== 0 && stat.uid !== uid)
      return `${what} belongs to user ${stat.uid}; expected root: chown root ${place}`;
    // A folder like /tmp lets nobody replace what is another's.
    const isSticky = stat.kind === 'folder' && (stat.mode & 0o1000) !== 0;
    if ((stat.mode & 0o022) !== 0 && !isSticky)
      return `the mode of ${what} is ${(stat.mode & 0o7777).toString(8).padStart(4, '0')}, so others may write it; expected 0${stat.kind === 'folder' ? '750' : '640'}: chmod go-w ${place}`;
  }
  return undefined;
}
