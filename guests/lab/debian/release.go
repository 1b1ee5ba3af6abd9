package debian

import (
	"embed"
	"fmt"
)

// keys holds the three keys that sign each release, from the package
// debian-archive-keyring:
//
//	04B54C3CDCA79751B16BC6B5225629DF75B188BD  archive automatic (13/trixie, packages)
//	5E04A1E3223A19A20706E20F9904613D4CCE68C6  security archive automatic (13/trixie)
//	41587F7DB8C774BCCF131416762F67A0B2C39DE4  stable release key (13/trixie)
//
//	B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8  archive automatic (12/bookworm)
//	05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0  security archive automatic (12/bookworm)
//	4D64FEC119C2029067D6E791F8D2585B8783D481  stable release key (12/bookworm)
//
//go:embed keys/*/*.gpg
var keys embed.FS

// Release is the code name of a release of Debian.
type Release string

// The releases whose keys are embedded.
const (
	Trixie   Release = "trixie"   // Debian 13
	Bookworm Release = "bookworm" // Debian 12
)

// suite is a suite of a release. archive is the folder of its archive on a mirror.
type suite struct{ name, archive string }

// suites returns the release's own suite and that of its security updates, which has
// newer versions of Xen and of the kernels.
func (r Release) suites() []suite {
	return []suite{{string(r), "debian"}, {string(r) + "-security", "debian-security"}}
}

// archiveKeys returns the release's keys as one binary keyring: a sequence of OpenPGP
// certificates.
func (r Release) archiveKeys() ([]byte, error) {
	dir := "keys/" + string(r)
	names, err := keys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("no keys of Debian %s: %w", r, err)
	}
	var ring []byte
	for _, n := range names {
		k, err := keys.ReadFile(dir + "/" + n.Name())
		if err != nil {
			return nil, err
		}
		ring = append(ring, k...)
	}
	return ring, nil
}
