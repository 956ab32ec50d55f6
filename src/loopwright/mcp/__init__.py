"""The MCP server: loops and tools for any client of the Model Context Protocol (extra `mcp`)."""
