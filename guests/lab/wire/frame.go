package wire

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"unicode/utf8"
)

// Kind is the purpose of a message.
type Kind string

// The kinds of messages. The harness sends jobs, the agent everything else.
const (
	// KindReady is the agent's first message: it has set up the port and reads
	// from it.
	KindReady Kind = "ready"
	// KindJob carries the work that the agent must do.
	KindJob Kind = "job"
	// KindProgress names the step of a job that the agent does now.
	KindProgress Kind = "progress"
	// KindRecord carries one result.
	KindRecord Kind = "record"
	// KindStream carries the observations of a trial's monitor. It follows the
	// trial's record.
	KindStream Kind = "stream"
	// KindStdout and KindStderr carry bytes that a program has written to its standard
	// output and to its standard error.
	KindStdout Kind = "stdout"
	KindStderr Kind = "stderr"
	// KindError carries the reason why a job failed.
	KindError Kind = "error"
	// KindDone ends a job.
	KindDone Kind = "done"
)

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool {
	switch k {
	case KindReady, KindJob, KindProgress, KindRecord, KindStream, KindStdout, KindStderr, KindError, KindDone:
		return true
	}
	return false
}

const (
	// Prefix begins every frame. The digit is the version of the protocol.
	Prefix = "@hb1 "

	// MaxLine is the longest line, in bytes and without its newline, in which a
	// frame is looked for. Longer lines are noise.
	MaxLine = 4096

	// MaxMessage is the largest message body in bytes, on either side.
	MaxMessage = 4 << 20

	// maxText bounds the payloads of one message together, in bytes. DEFLATE adds
	// at most 5 bytes to 64 KiB (RFC 1951, stored blocks), base64 adds a third.
	maxText = (MaxMessage + MaxMessage/(1<<10)) / 3 * 4

	// pieceSize is the longest payload of a frame in bytes. It is long enough to
	// make the header cheap, and short enough to keep a line readable and the loss
	// of a line small.
	pieceSize = 2048

	// readableSize is the size in bytes up to which text is not compressed.
	readableSize = 256
)

// castagnoli is the CRC-32C polynomial of RFC 3720.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoding is the form of a message's body in the payloads.
type encoding byte

const (
	encodingText    encoding = 't'
	encodingDeflate encoding = 'z'
)

// frame is one line of the protocol, parsed.
type frame struct {
	seq      uint64
	kind     Kind
	encoding encoding
	piece    int // from 1
	pieces   int
	payload  []byte
}

// header returns the part of the line between the prefix and the checksum.
func (f frame) header() []byte {
	return fmt.Appendf(nil, "%d %s %c %d/%d %d ", f.seq, f.kind, f.encoding, f.piece, f.pieces, len(f.payload))
}

// line returns the frame as a line, with its newline.
func (f frame) line() []byte {
	header := f.header()
	line := make([]byte, 0, len(Prefix)+len(header)+len("01234567 ")+len(f.payload)+1)
	line = append(line, Prefix...)
	line = append(line, header...)
	line = append(line, checksum(header, f.payload)...)
	line = append(line, ' ')
	line = append(line, f.payload...)
	return append(line, '\n')
}

// checksum returns the CRC-32C of header and payload in lower-case hexadecimal.
func checksum(header, payload []byte) string {
	return fmt.Sprintf("%08x", crc32.Update(crc32.Checksum(header, castagnoli), castagnoli, payload))
}

// errNoFrame is the only error of parseFrame. Whether a line was meant to be a
// frame cannot be known, so there is no reason to give.
var errNoFrame = errors.New("no frame")

// parseFrame parses a line that begins with [Prefix] and has no newline.
func parseFrame(line []byte) (frame, error) {
	rest, ok := bytes.CutPrefix(line, []byte(Prefix))
	if !ok {
		return frame{}, errNoFrame
	}
	headerStart := rest
	var fields [5][]byte
	for i := range fields {
		fields[i], rest, ok = bytes.Cut(rest, []byte{' '})
		if !ok {
			return frame{}, errNoFrame
		}
	}
	header := headerStart[:len(headerStart)-len(rest)]
	sum, payload, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return frame{}, errNoFrame
	}
	length, err := strconv.ParseUint(string(fields[4]), 10, 16)
	if err != nil || int(length) != len(payload) {
		return frame{}, errNoFrame
	}
	if checksum(header, payload) != string(sum) {
		return frame{}, errNoFrame
	}

	f := frame{kind: Kind(fields[1]), payload: payload}
	if f.seq, err = strconv.ParseUint(string(fields[0]), 10, 63); err != nil || f.seq == 0 || !f.kind.Valid() {
		return frame{}, errNoFrame
	}
	if len(fields[2]) != 1 {
		return frame{}, errNoFrame
	}
	f.encoding = encoding(fields[2][0])
	if f.encoding != encodingText && f.encoding != encodingDeflate {
		return frame{}, errNoFrame
	}
	piece, pieces, ok := bytes.Cut(fields[3], []byte{'/'})
	if !ok {
		return frame{}, errNoFrame
	}
	f.piece, err = strconv.Atoi(string(piece))
	if err != nil {
		return frame{}, errNoFrame
	}
	f.pieces, err = strconv.Atoi(string(pieces))
	if err != nil || f.piece < 1 || f.piece > f.pieces {
		return frame{}, errNoFrame
	}
	// Only what line would write is a frame: no signs, no leading zeros.
	if !bytes.Equal(f.header(), header) {
		return frame{}, errNoFrame
	}
	return f, nil
}

// decode is the inverse of Writer.encode. It fails if the body has more than max
// bytes.
func decode(e encoding, text []byte, max int) ([]byte, error) {
	if e == encodingText {
		return text, nil
	}
	packed, err := base64.RawStdEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), int64(max)+1))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	if len(body) > max {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", max)
	}
	return body, nil
}

// printable reports whether b can be part of a line without encoding.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
