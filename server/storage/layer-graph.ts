/** What stands on what: layers, the volumes they are heads of, and whoever else needs them. Reads memory alone. */
import { EngineError } from '#server/engine/errors.ts'
import type { LayerDocument, VolumeDocument } from './volume-documents.ts'
import type { ChainLink, ImageFile, LayerHolder } from './volume-types.ts'

/** Deeper chains than this are refused: each layer costs a file descriptor and a look-up. */
export const MAX_CHAIN = 64

interface LayerGraphFacts {
  readonly volumes: ReadonlyMap<string, VolumeDocument>
  readonly layers: ReadonlyMap<string, LayerDocument>
  readonly holders: ReadonlySet<LayerHolder>
  readonly image: ImageFile
  readonly requireLayer: (id: string) => LayerDocument
  readonly pathOf: (layer: LayerDocument) => string
}

export function createLayerGraph({ volumes, layers, holders, image, requireLayer, pathOf }: LayerGraphFacts) {
  const childrenOf = (layerId: string) =>
    [...layers.values()].filter(({ parent }) => parent !== null && 'layer' in parent && parent.layer === layerId)
  const volumeOfHead = (layerId: string) => [...volumes.values()].find(({ head }) => head === layerId) ?? null
  const heldBy = (layerId: string): string[] =>
    [...holders].flatMap((holder) => {
      const name = holder.holds(layerId)
      return name === null ? [] : [name]
    })
  const needs = (layerId: string): string[] => [
    ...heldBy(layerId),
    ...childrenOf(layerId).map((child) => {
      const volume = volumeOfHead(child.id)
      return volume === null ? 'another layer' : `the disk “${volume.name}”`
    }),
  ]

  const chain = (layerId: string): ChainLink[] => {
    const links: ChainLink[] = []
    for (let id: string | null = layerId; id !== null; ) {
      if (links.length >= MAX_CHAIN)
        throw new EngineError('conflict', `This disk stands on more than ${MAX_CHAIN} layers; merge some first.`)
      const layer = requireLayer(id)
      links.push({ path: pathOf(layer), format: layer.format, layerId: layer.id, imageId: null })
      id = null
      if (layer.parent !== null && 'layer' in layer.parent) id = layer.parent.layer
      else if (layer.parent !== null) {
        const file = image(layer.parent.image)
        if (file === null)
          throw new EngineError('image_missing', 'The image this disk stands on is no longer in the library.')
        links.push({ ...file, layerId: null, imageId: layer.parent.image })
      }
    }
    return links
  }
  /** Ids of the images below a layer; never throws. */
  const imagesBelow = (layerId: string): string[] => {
    for (let id = layerId, depth = 0; depth < MAX_CHAIN; depth += 1) {
      const parent = layers.get(id)?.parent ?? null
      if (parent === null) return []
      if ('image' in parent) return [parent.image]
      id = parent.layer
    }
    return []
  }

  return { childrenOf, volumeOfHead, heldBy, needs, chain, imagesBelow }
}
