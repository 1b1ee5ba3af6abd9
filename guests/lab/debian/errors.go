package debian

import (
	"fmt"
)

// MissingToolError reports that the host lacks a program.
type MissingToolError struct {
	// Tool is the program's name, for example "apt-get".
	Tool string
	// Remedy tells the user what to do, as the end of a sentence.
	Remedy string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is not on this machine: %s", e.Tool, e.Remedy)
}

// MirrorError reports that the mirror could not be reached, or that its answer is not
// that of a Debian mirror.
type MirrorError struct {
	// Mirror is the base URL of the mirror.
	Mirror string
	// Detail is apt's first error message.
	Detail string
}

func (e *MirrorError) Error() string {
	return fmt.Sprintf("the Debian mirror %s gave no packages (%s): check the network and the proxy, "+
		"or name another mirror", e.Mirror, e.Detail)
}

// GoneError reports that the mirror does not have a suite of the release.
type GoneError struct {
	Mirror string
	// Detail is apt's message, which names the suite.
	Detail string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("the Debian mirror %s does not have this release any more (%s): name a mirror that has it, "+
		"such as http://archive.debian.org for old releases", e.Mirror, e.Detail)
}

// SignatureError reports that the mirror's index is not signed by a Debian archive
// key. Nothing from such a mirror is used.
type SignatureError struct {
	Mirror string
	Detail string
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("the Debian mirror %s is not signed by Debian's archive keys (%s): name another mirror, "+
		"and check this machine's clock", e.Mirror, e.Detail)
}

// HashError reports that a package file does not have the hash or the length of the
// signed index, or of the lock made from it.
type HashError struct {
	// Path is the file.
	Path string
	// Deleted says that it has been deleted.
	Deleted bool
	// Want and Got are SHA-256 in hexadecimal. If the length is wrong, Got gives both
	// lengths instead.
	Want, Got string
}

func (e *HashError) Error() string {
	s := fmt.Sprintf("%s is damaged: SHA-256 %s expected, found %s", e.Path, e.Want, e.Got)
	if e.Deleted {
		s += "; the file was deleted, run the command again to fetch it"
	}
	return s
}

// NoSpaceError reports that a file system is too full. NeedBytes and FreeBytes are 0
// if a write failed: then the need is not known.
type NoSpaceError struct {
	// Path is the folder that was to be written.
	Path string
	// NeedBytes is the space that the step needs. FreeBytes is the space that an
	// ordinary user can still write there.
	NeedBytes, FreeBytes int64
}

func (e *NoSpaceError) Error() string {
	if e.NeedBytes == 0 {
		return fmt.Sprintf("no space left on the file system of %s: free some, or choose another cache folder", e.Path)
	}
	return fmt.Sprintf("the file system of %s has %d MiB free, %d MiB are needed: free some, or choose another "+
		"cache folder", e.Path, e.FreeBytes>>20, (e.NeedBytes+1<<20-1)>>20)
}
