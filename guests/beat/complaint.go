package beat

import (
	"encoding/binary"
	"sync/atomic"
)

// MostComplaint is the largest length of a complaint in bytes.
const MostComplaint = 240

// Complain tells dom0 why the guest cannot do what it was asked for. Text behind the first
// MostComplaint bytes is cut off. An empty text takes an older complaint back.
func (p *Page) Complain(text string) {
	b := make([]byte, MostComplaint)
	copy(b, text)
	for i := 0; i < MostComplaint; i += 8 {
		atomic.StoreUint64(p.word(offComplaint+i), binary.LittleEndian.Uint64(b[i:]))
	}
}

// Complaint returns the last complaint, and "" if there is none. The text is the guest's:
// each byte that is no printable ASCII sign is replaced by a question mark. A text that is
// being written may be returned in part.
func (p *Page) Complaint() string {
	var b []byte
	for i := 0; i < MostComplaint; i += 8 {
		b = binary.LittleEndian.AppendUint64(b, atomic.LoadUint64(p.word(offComplaint+i)))
	}
	for i, c := range b {
		switch {
		case c == 0:
			return string(b[:i])
		case c < ' ' || c > '~':
			b[i] = '?'
		}
	}
	return string(b)
}
