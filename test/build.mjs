// `npm run build`: dist/mendwall.cjs, which plain `node` runs, and dist/lib/NAME.cjs, one file a library.
// A module reached only by import() stays lazy: its code runs when it is first asked for. The libraries are files of their
// own because V8 reads a whole file before it runs its first line: in one file (1.1 MB) that alone took 15-25 ms of each start.
import { build } from 'esbuild';
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = join(dirname(fileURLToPath(import.meta.url)), '..');
const entry = join(top, 'src/main.ts');
const dist = join(top, 'dist');
const outfile = join(dist, 'mendwall.cjs');
const libraries = Object.keys(JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')).dependencies);

if (!existsSync(entry)) {
  console.error(`build: ${entry} does not exist, so there is nothing to build`);
  process.exit(1);
}

const options = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'eof',
  // import() becomes require() in a promise: Node's own import() starts its loader of ES modules, 5 ms.
  supported: { 'dynamic-import': false },
  // Optional parts of dbus-next: passing file descriptors, and asking an X server for the address of a session bus.
  external: ['usocket', 'x11'],
  absWorkingDir: top,
  logLevel: 'warning',
};

const besides = {
  name: 'libraries are files beside the program',
  setup({ onResolve }) {
    const filter = new RegExp(`^(?:${libraries.join('|')})$`);
    onResolve({ filter }, ({ path }) => ({ path: `./lib/${path}.cjs`, external: true }));
  },
};

rmSync(join(dist, 'lib'), { recursive: true, force: true });
try {
  await build({ ...options, entryPoints: [entry], outfile, banner: { js: '#!/usr/bin/env node' }, plugins: [besides] });
  const entryPoints = Object.fromEntries(libraries.map((name) => [name, name]));
  await build({ ...options, entryPoints, outdir: join(dist, 'lib'), outExtension: { '.js': '.cjs' } });
} catch {
  // esbuild has printed each error with its place.
  process.exit(1);
}
chmodSync(outfile, 0o755);
