from redpacket.cli import main

main()
