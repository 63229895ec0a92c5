/**
 * Windows Setup's answer file. Source: Microsoft's unattend reference; drivers of the virtio CD lie in
 * `<driver>\<system>\amd64`. Setup looks for `autounattend.xml` in the root of every CD and floppy.
 */
import type { WindowsForm } from '../schema/seed.ts'

const xml = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

/** How Windows hides a password in answer files: UTF-16 of it and the name of its element, in base64. No protection. */
function hidden(password: string): string {
  const text = `${password}Password`
  let bytes = ''
  for (let n = 0; n < text.length; n += 1) {
    const unit = text.charCodeAt(n)
    bytes += String.fromCharCode(unit & 0xff, unit >> 8)
  }
  return btoa(bytes)
}

const COMPONENT =
  'processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35" language="neutral" versionScope="nonSxS"'
const component = (name: string, content: readonly string[]): string[] => [
  `    <component name="${name}" ${COMPONENT}>`,
  ...content.map((line) => `      ${line}`),
  '    </component>',
]
const settings = (pass: string, components: readonly string[]): string[] => [
  `  <settings pass="${pass}">`,
  ...components,
  '  </settings>',
]

/** The letter of the driver CD differs with what else is there. */
const LETTERS = ['D', 'E', 'F', 'G']
const DRIVERS = ['viostor', 'vioscsi', 'NetKVM', 'Balloon', 'vioserial']

function driverPaths(system: string): string[] {
  const paths = LETTERS.flatMap((letter) => DRIVERS.map((driver) => `${letter}:\\${driver}\\${system}\\amd64`))
  return [
    '<DriverPaths>',
    ...paths.map(
      (path, n) =>
        `  <PathAndCredentials wcm:action="add" wcm:keyValue="${n + 1}"><Path>${path}</Path></PathAndCredentials>`,
    ),
    '</DriverPaths>',
  ]
}

function partitions(uefi: boolean): { readonly lines: string[]; readonly system: number } {
  const made = uefi
    ? [
        { type: 'EFI', megabytes: 260, format: 'FAT32' },
        { type: 'MSR', megabytes: 16, format: null },
        { type: 'Primary', megabytes: null, format: 'NTFS' },
      ]
    : [
        { type: 'Primary', megabytes: 500, format: 'NTFS' },
        { type: 'Primary', megabytes: null, format: 'NTFS' },
      ]
  const lines = [
    '<CreatePartitions>',
    ...made.map(
      ({ type, megabytes }, n) =>
        `  <CreatePartition wcm:action="add"><Order>${n + 1}</Order><Type>${type}</Type>${
          megabytes === null ? '<Extend>true</Extend>' : `<Size>${megabytes}</Size>`
        }</CreatePartition>`,
    ),
    '</CreatePartitions>',
    '<ModifyPartitions>',
    ...made.flatMap(({ format }, n) =>
      format === null
        ? []
        : [
            `  <ModifyPartition wcm:action="add"><Order>${n + 1}</Order><PartitionID>${n + 1}</PartitionID><Format>${format}</Format>${
              !uefi && n === 0 ? '<Active>true</Active>' : ''
            }</ModifyPartition>`,
          ],
    ),
    '</ModifyPartitions>',
  ]
  return { lines, system: made.length }
}

/** @param hostName as Windows takes it: letters, digits and dashes, up to 15 */
export function autounattendOf(form: WindowsForm, hostName: string): string {
  const computer = (hostName.split('.')[0] ?? '').slice(0, 15).replace(/-+$/, '') || 'guest'
  const { lines, system } = partitions(form.uefi)
  const language = (name: string) => [`<${name}>${xml(form.locale)}</${name}>`]
  const locales = [
    ...language('InputLocale'),
    ...language('SystemLocale'),
    ...language('UILanguage'),
    ...language('UserLocale'),
  ]
  const image =
    form.edition === null
      ? []
      : [
          '  <InstallFrom><MetaData wcm:action="add">',
          `    <Key>/IMAGE/NAME</Key><Value>${xml(form.edition)}</Value>`,
          '  </MetaData></InstallFrom>',
        ]
  const key =
    form.productKey === null
      ? []
      : [`  <ProductKey><Key>${form.productKey}</Key><WillShowUI>OnError</WillShowUI></ProductKey>`]
  return [
    '<?xml version="1.0" encoding="utf-8"?>',
    '<!-- Answers for Windows Setup. Written by Guestdeck. -->',
    '<unattend xmlns="urn:schemas-microsoft-com:unattend" xmlns:wcm="http://schemas.microsoft.com/WMIConfig/2002/State">',
    ...settings('windowsPE', [
      ...component('Microsoft-Windows-International-Core-WinPE', [
        `<SetupUILanguage><UILanguage>${xml(form.locale)}</UILanguage></SetupUILanguage>`,
        ...locales,
      ]),
      ...(form.virtioDrivers === null
        ? []
        : component('Microsoft-Windows-PnpCustomizationsWinPE', driverPaths(form.virtioDrivers))),
      ...component('Microsoft-Windows-Setup', [
        '<DiskConfiguration>',
        '  <Disk wcm:action="add"><DiskID>0</DiskID><WillWipeDisk>true</WillWipeDisk>',
        ...lines.map((line) => `    ${line}`),
        '  </Disk>',
        '</DiskConfiguration>',
        '<ImageInstall><OSImage>',
        ...image,
        `  <InstallTo><DiskID>0</DiskID><PartitionID>${system}</PartitionID></InstallTo>`,
        '</OSImage></ImageInstall>',
        '<UserData>',
        '  <AcceptEula>true</AcceptEula>',
        ...key,
        '</UserData>',
      ]),
    ]),
    ...settings('specialize', [
      ...component('Microsoft-Windows-Shell-Setup', [
        `<ComputerName>${xml(computer)}</ComputerName>`,
        `<TimeZone>${xml(form.timeZone)}</TimeZone>`,
      ]),
    ]),
    ...settings('oobeSystem', [
      ...component('Microsoft-Windows-International-Core', locales),
      ...component('Microsoft-Windows-Shell-Setup', [
        '<OOBE>',
        '  <HideEULAPage>true</HideEULAPage>',
        '  <HideOnlineAccountScreens>true</HideOnlineAccountScreens>',
        '  <HideWirelessSetupInOOBE>true</HideWirelessSetupInOOBE>',
        '  <ProtectYourPC>3</ProtectYourPC>',
        '</OOBE>',
        '<UserAccounts><LocalAccounts>',
        '  <LocalAccount wcm:action="add">',
        `    <Name>${xml(form.userName)}</Name><Group>Administrators</Group>`,
        `    <Password><Value>${hidden(form.password)}</Value><PlainText>false</PlainText></Password>`,
        '  </LocalAccount>',
        '</LocalAccounts></UserAccounts>',
      ]),
    ]),
    '</unattend>',
    '',
  ].join('\r\n')
}
