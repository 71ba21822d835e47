"""`python -m ttchat_tui` is `ttchat-tui`."""

from ttchat_tui.cli import main

if __name__ == "__main__":
    main()
