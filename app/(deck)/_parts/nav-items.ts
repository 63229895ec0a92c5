import {
  Archive,
  CalendarClock,
  CircuitBoard,
  Disc3,
  FolderKanban,
  Gauge,
  HardDrive,
  LayoutGrid,
  type LucideIcon,
  Monitor,
  ScrollText,
  Users,
} from 'lucide-react'
import { paths } from '#lib/paths.ts'

export interface NavItem {
  readonly id:
    | 'overview'
    | 'vms'
    | 'images'
    | 'storage'
    | 'backups'
    | 'lab'
    | 'projects'
    | 'usage'
    | 'host'
    | 'people'
    | 'activity'
  readonly href: string
  readonly icon: LucideIcon
  /** Second key of its `g` shortcut. */
  readonly key: string
}

/** The main navigation, in order. */
export const NAV: readonly NavItem[] = [
  { id: 'overview', href: paths.overview(), icon: LayoutGrid, key: 'o' },
  { id: 'vms', href: paths.vms(), icon: Monitor, key: 'v' },
  { id: 'images', href: paths.images(), icon: Disc3, key: 'i' },
  { id: 'storage', href: paths.storage(), icon: HardDrive, key: 's' },
  { id: 'backups', href: paths.backups(), icon: Archive, key: 'b' },
  { id: 'lab', href: paths.lab(), icon: CalendarClock, key: 'l' },
  { id: 'projects', href: paths.projects(), icon: FolderKanban, key: 'r' },
  { id: 'usage', href: paths.usage(), icon: Gauge, key: 'u' },
  { id: 'host', href: paths.host(), icon: CircuitBoard, key: 'h' },
  { id: 'people', href: paths.people(), icon: Users, key: 'p' },
  { id: 'activity', href: paths.activity(), icon: ScrollText, key: 'a' },
]

/** Whether `here` belongs under an item. The overview is itself alone. */
export const isUnder = (here: string, href: string) =>
  href === paths.overview() ? here === href : here === href || here.startsWith(`${href}/`)
