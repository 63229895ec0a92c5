import type { NextConfig } from 'next'

const config: NextConfig = {
  poweredByHeader: false,
  reactStrictMode: true,
  // Errors a browser reports name real functions; costs nothing on the wire unless developer tools ask for the map.
  productionBrowserSourceMaps: false,
  // Types are checked by `npm run check` (one second, tests included); whoever runs `npm start` need not wait for it.
  typescript: { ignoreBuildErrors: true },
  experimental: { optimizePackageImports: ['lucide-react'] },
}
export default config
