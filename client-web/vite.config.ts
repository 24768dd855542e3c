// Builds the page into dist/, which the server embeds: hashed names under /assets/, no source
// maps, nothing inline (the server's content security policy forbids it).
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a server: one started with `rally-server --demo`. */
const server = process.env.RALLY_SERVER ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { '/api': server, '/ws': { target: server, ws: true } },
  },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});
