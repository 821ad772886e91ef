# Which modules may be fetched: docs/download-mode.md. The first block whose pattern matches decides.
downloadURL = ""
mode        = "sync"

# Not stored, not here: the client's GOPROXY list goes on.
download "example.com/private/*" {
  mode = "none"
}
