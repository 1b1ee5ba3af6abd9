package debian

import (
	"embed"
	"fmt"
	"strings"
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
//	1F89983E0081FDE018F3CC9673A4F27B8DD47936  archive automatic (11/bullseye)
//	AC530D520F2F3269F5E98313A48449044AAD5C5D  security archive automatic (11/bullseye)
//	A4285295FC7B1A81600062A9605C66F00D6C9793  stable release key (11/bullseye)
//
//go:embed keys/*/*.gpg
var keys embed.FS

// Release is the code name of a release of Debian, or the suite of its backports.
type Release string

// The releases whose keys are embedded.
const (
	Trixie   Release = "trixie"   // Debian 13
	Bookworm Release = "bookworm" // Debian 12
	Bullseye Release = "bullseye" // Debian 11

	// TrixieBackports has newer packages for Debian 13, which are preferred to its own.
	TrixieBackports Release = "trixie" + backports
)

const backports = "-backports"

// base returns the release whose suites and keys r has, and whether r is the backports
// of it.
func (r Release) base() (Release, bool) {
	name, ok := strings.CutSuffix(string(r), backports)
	return Release(name), ok
}

// suite is a suite of a release. archive is the folder of its archive on a mirror.
type suite struct{ name, archive string }

// suites returns the release's own suite, that of its security updates, which has newer
// versions of Xen and of the kernels, and for backports theirs.
func (r Release) suites() []suite {
	base, newer := r.base()
	all := []suite{{string(base), "debian"}, {string(base) + "-security", "debian-security"}}
	if newer {
		all = append(all, suite{string(r), "debian"})
	}
	return all
}

// archiveKeys returns the release's keys as one binary keyring: a sequence of OpenPGP
// certificates.
func (r Release) archiveKeys() ([]byte, error) {
	base, _ := r.base()
	dir := "keys/" + string(base)
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
