export type ConsoleTab = 'screen' | 'serial'
