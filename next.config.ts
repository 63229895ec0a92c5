import type { NextConfig } from 'next'

const config: NextConfig = {
  poweredByHeader: false,
  reactStrictMode: true,
  // Errors a browser reports name real functions; costs nothing on the wire unless developer tools ask for the map.
  productionBrowserSourceMaps: false,
  experimental: { optimizePackageImports: ['lucide-react'] },
}
export default config
