package debian

import (
	"fmt"
)

// MissingToolError says that a program of the host is not there.
type MissingToolError struct {
	// Tool is the program's name, for example "apt-get".
	Tool string
	// Remedy is what the user can do, as the end of a sentence.
	Remedy string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is not on this machine: %s", e.Tool, e.Remedy)
}

// MirrorError says that the mirror could not be reached or did not answer as a
// Debian mirror does.
type MirrorError struct {
	// Mirror is the base address that was tried.
	Mirror string
	// Detail is apt's own first complaint.
	Detail string
}

func (e *MirrorError) Error() string {
	return fmt.Sprintf("the Debian mirror %s gave no packages (%s): check the network and the proxy, or name another mirror", e.Mirror, e.Detail)
}

// SignatureError says that the mirror's index is not signed by a Debian 13
// archive key. Nothing from such a mirror is used.
type SignatureError struct {
	Mirror string
	Detail string
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("the Debian mirror %s is not signed by the Debian 13 archive keys (%s): name another mirror, and check this machine's clock", e.Mirror, e.Detail)
}

// HashError says that a package file is not what the signed index (or the lock
// made from it) says. The file has been deleted.
type HashError struct {
	// Path is the deleted file.
	Path string
	// Want and Got are SHA-256 in hexadecimal; Got is "<n> bytes" when the
	// length alone was wrong.
	Want, Got string
}

func (e *HashError) Error() string {
	return fmt.Sprintf("%s is damaged: SHA-256 %s expected, found %s; the file was deleted, run the command again to fetch it anew", e.Path, e.Want, e.Got)
}

// NoSpaceError says that a file system is too full. Free and NeedBytes are
// zero when the write itself failed and the need is not known.
type NoSpaceError struct {
	// Path is the folder to be written to.
	Path string
	// NeedBytes is what the step needs, FreeBytes what an ordinary user may
	// still write there.
	NeedBytes, FreeBytes int64
}

func (e *NoSpaceError) Error() string {
	if e.NeedBytes == 0 {
		return fmt.Sprintf("no space left on the file system of %s: free some, or choose another cache folder", e.Path)
	}
	return fmt.Sprintf("the file system of %s has %d MiB free, %d MiB are needed: free some, or choose another cache folder", e.Path, e.FreeBytes>>20, (e.NeedBytes+1<<20-1)>>20)
}
